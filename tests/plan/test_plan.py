"""The plan's decisions: durations, batches, deals. Pure functions, so plain examples and properties."""

from __future__ import annotations

import pytest
from covfleet.errors import ConfigurationError
from covfleet.model import Batch, file_of_test
from covfleet.plan.cutting import cut, deal, expected_durations, group_batch, number
from covfleet.settings.schema import GroupSettings
from hypothesis import given
from hypothesis import strategies as st

TESTS = ("a.py::one", "a.py::two", "b.py::one", "c.py::C::one")


def test_a_command_that_is_not_python_is_refused_by_the_groups_name():
    with pytest.raises(ConfigurationError, match=r"'shell'.*python"):
        group_batch(GroupSettings(name="shell", command="make test"), {})


def test_a_command_is_split_as_a_shell_would():
    batch = group_batch(
        GroupSettings(name="u", command="python -m unittest discover 'my tests'"), {"group::u": 3.0}
    )
    assert batch.command == ("python", "-m", "unittest", "discover", "my tests")
    assert (batch.tests, batch.expected_s) == (("group::u",), 3.0)


def test_a_test_without_history_gets_the_median_of_its_file_then_of_the_suite():
    known = {"a.py::one": 4.0, "b.py::old": 9.0, "b.py::one": 2.0}
    assert expected_durations(TESTS, known) == {
        "a.py::one": 4.0,
        "a.py::two": 4.0,
        "b.py::one": 2.0,
        "c.py::C::one": 3.0,
    }


def test_a_file_is_never_split_over_batches():
    durations = dict.fromkeys(TESTS, 1.0)
    batches = cut(TESTS, durations, 1.5, "file")
    assert [batch.tests for batch in batches] == [TESTS[:2], TESTS[2:3], TESTS[3:]]


def test_a_file_may_be_split_when_the_unit_is_the_test():
    durations = dict.fromkeys(TESTS, 1.0)
    assert [len(batch.tests) for batch in cut(TESTS, durations, 1.0, "test")] == [1, 1, 1, 1]


def test_neighbouring_small_files_share_a_batch():
    durations = dict.fromkeys(TESTS, 0.1)
    assert [batch.tests for batch in cut(TESTS, durations, 10.0, "file")] == [TESTS]


def test_batches_are_numbered_longest_first_and_unknown_commands_go_ahead():
    batches = number(
        [Batch("", ("x",), 1.0), Batch("", ("y",), 5.0), Batch("", ("group::g",), 0.0, ("python",))]
    )
    assert [(batch.id, batch.tests[0]) for batch in batches] == [
        ("00001", "group::g"),
        ("00002", "y"),
        ("00003", "x"),
    ]


def test_more_shards_than_batches_leaves_shards_without_a_deal():
    assert deal([Batch("00001", ("x",), 1.0)], 3) == (("00001",), (), ())


durations = st.floats(min_value=0, max_value=1000, allow_nan=False)


@given(st.lists(durations, max_size=60), st.integers(1, 12))
def test_every_batch_is_dealt_once_and_no_shard_is_far_from_its_share(lengths, shards):
    batches = number(Batch("", (f"t{index:03}",), length) for index, length in enumerate(lengths))
    deals = deal(batches, shards)
    assert sorted(batch for dealt in deals for batch in dealt) == [batch.id for batch in batches]
    loads = [sum(batches[int(batch) - 1].expected_s for batch in dealt) for dealt in deals]
    longest = max(lengths, default=0.0)
    assert max(loads) <= sum(lengths) / shards + longest + 1e-6  # Graham's bound for list scheduling


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99), durations), max_size=80),
    st.floats(min_value=0.01, max_value=500),
    st.sampled_from(["file", "test"]),
)
def test_cutting_loses_no_test_and_repeats_none_and_does_the_same_again(given_tests, batch_s, unit):
    timings = {f"f{file}.py::t{test}": duration for file, test, duration in given_tests}
    tests = tuple(timings)
    batches = cut(tests, timings, batch_s, unit)
    assert sorted(test for batch in batches for test in batch.tests) == sorted(tests)
    assert batches == cut(tests, timings, batch_s, unit)
    for batch in batches:
        pieces = {file_of_test(test) if unit == "file" else test for test in batch.tests}
        assert len(pieces) == 1 or sum(timings[test] for test in batch.tests) <= batch_s * (1 + 1e-9)
