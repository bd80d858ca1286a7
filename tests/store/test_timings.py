"""The timing history: never fatal, counted once a build, and forgetful of what is gone."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from covfleet.adapters.folder.store import LocalStore
from covfleet.errors import PreconditionFailedError
from covfleet.model import Outcome, TestOutcome
from covfleet.store.keys import timings
from covfleet.store.timings import Timings, read_timings, update_timings, updated
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def outcomes(seconds: Mapping[str, float], what: Outcome = "passed") -> list[TestOutcome]:
    return [TestOutcome(test, what, value) for test, value in seconds.items()]


def read(store: LocalStore, branch: str = "main") -> tuple[dict[str, float], list[str]]:
    said: list[str] = []
    return read_timings(store, branch, said.append), said


@pytest.mark.parametrize("data", [b"", b"<html>", b'{"version": 2}', b'{"seconds": {"a": "x"}}'])
def test_damaged_timings_are_reported_ignored_and_replaced(store: LocalStore, data: bytes) -> None:
    store.put(timings("main"), data)
    known, said = read(store)
    assert known == {}
    assert timings("main") in said[0]
    (note,) = update_timings(store, "main", "c/1", outcomes({"a": 2.0}))
    assert timings("main") in note
    assert read(store) == ({"a": 2.0}, [])


@pytest.mark.parametrize("earlier", [{}, {"z": 1.0}])
def test_an_update_that_is_overtaken_is_repeated(store: LocalStore, earlier: dict[str, float]) -> None:
    if earlier:
        update_timings(store, "main", "c/0", outcomes(earlier))

    class Overtaken(LocalStore):
        def put(self, key: str, data: bytes, **how) -> str:
            if "a" not in read(store)[0]:
                update_timings(store, "main", "c/1", outcomes({"a": 1.0}))
            return super().put(key, data, **how)

    assert update_timings(Overtaken(Path(store.url)), "main", "c/2", outcomes({"a": 3.0, "b": 1.0})) == ()
    assert read(store)[0] == {"a": 2.0, "b": 1.0} | earlier


def test_an_update_whose_answer_was_lost_counts_once(store: LocalStore) -> None:
    class Lossy(LocalStore):
        def put(self, key: str, data: bytes, **how) -> str:
            super().put(key, data, **how)
            raise PreconditionFailedError("the retry failed by its own success")

    update_timings(store, "main", "c/1", outcomes({"a": 1.0}))
    assert update_timings(Lossy(Path(store.url)), "main", "c/2", outcomes({"a": 3.0})) == ()
    assert read(store)[0] == {"a": 2.0}


def test_an_update_that_never_gets_through_is_noted(store: LocalStore) -> None:
    class Contended(LocalStore):
        def put(self, key: str, data: bytes, **how) -> str:
            raise PreconditionFailedError("somebody was faster")

    (note,) = update_timings(Contended(Path(store.url)), "main", "c/1", outcomes({"a": 1.0}))
    assert "other builds" in note


def test_builds_at_once_are_all_counted(store: LocalStore) -> None:
    threads = [
        threading.Thread(target=update_timings, args=(store, "main", f"c/{at}", outcomes({f"t{at}": 1.0})))
        for at in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(store)[0].keys() == {"t0", "t1", "t2", "t3"}


@pytest.mark.parametrize("what", ["crashed", "timeout", "error"])
def test_durations_that_say_nothing_are_not_learned(store: LocalStore, what: Outcome) -> None:
    update_timings(store, "main", "c/1", outcomes({"a": 1.0}))
    update_timings(store, "main", "c/2", outcomes({"a": 1800.0}, what))
    assert read(store)[0] == {"a": 1.0}


def test_a_build_counts_once_however_often_it_is_combined(store: LocalStore) -> None:
    update_timings(store, "main", "c/1", outcomes({"a": 1.0}))
    for _ in range(3):
        update_timings(store, "main", "c/2", outcomes({"a": 3.0}))
    assert read(store)[0] == {"a": 2.0}


def test_a_branch_without_timings_takes_those_of_the_main_branch(store: LocalStore) -> None:
    update_timings(store, "master", "c/1", outcomes({"a": 1.0}))
    assert read(store, "feature/x") == ({"a": 1.0}, [])
    update_timings(store, "main", "c/2", outcomes({"a": 5.0}))
    assert read(store, "feature/x")[0] == {"a": 5.0}
    update_timings(store, "feature/x", "c/3", outcomes({"a": 7.0}))
    assert read(store, "feature/x")[0] == {"a": 7.0}


def test_a_store_without_any_timings_gives_none(store: LocalStore) -> None:
    assert read(store) == ({}, [])


def test_a_test_that_is_gone_is_forgotten_after_twenty_builds() -> None:
    known = updated(Timings(), "0", {"gone": 4.0, "here": 1.0})
    for at in range(1, 20):
        known = updated(known, str(at), {"here": 1.0})
    assert known.seconds == {"gone": 4.0, "here": 1.0}
    assert updated(known, "20", {"here": 1.0}).seconds == {"here": 1.0}
    assert updated(known, "20", {"gone": 2.0}).unseen == {"here": 1}


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.floats(0, 1000)), min_size=1, max_size=8))
def test_a_value_lies_between_the_durations_seen(builds: list[dict[str, float]]) -> None:
    known = Timings()
    for at, durations in enumerate(builds):
        known = updated(known, str(at), durations)
    for test, value in known.seconds.items():
        seen = [durations[test] for durations in builds if test in durations]
        assert min(seen) - 0.001 <= value <= max(seen) + 0.001
