"""The ledger: nothing but one outcome for every planned test, and sound data for each result, is complete."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from covfleet.combine.contents import CheckedData
from covfleet.combine.ledger import MOST_OUTSIDE, Evidence, judge, outcomes_of
from covfleet.combine.paths import CoverageSettings, resolve
from covfleet.model import DataFile, Ledger, Problem, SourceFile, TestOutcome
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builds import make_plan, make_result

SOURCES = (SourceFile("app/a.py", ""), SourceFile("app/b.html", ""))
PLAN = make_plan({"1": ["t.py::a", "t.py::b"], "2": ["u.py::c"]}, SOURCES)


def data(name: str, *files: str, branch: bool | None = False, **changes: Any) -> CheckedData:
    paths = frozenset(files or ("app/a.py",))
    return dataclasses.replace(CheckedData(Path(name), name, branch, paths, paths, 1, ()), **changes)


def described(name: str, sha256: str = "ab") -> DataFile:
    return DataFile(name, 100, sha256)


RESULTS = (
    make_result(PLAN, "1", [described("x")], shard=1),
    make_result(PLAN, "2", [described("y")], shard=2),
)
COMPLETE = Evidence(PLAN, RESULTS, (data("x"), data("y")))


def ledger_of(evidence: Evidence = COMPLETE, **changes: Any) -> Ledger:
    evidence = dataclasses.replace(evidence, **changes)
    measured = [path for item in evidence.checked for path in item.files]
    known = [source.path for source in evidence.plan.sources]
    return judge(evidence, resolve(measured, known=known, roots=(), rules=evidence.settings.rules))


def outcome(test: str, what: Any = "passed") -> TestOutcome:
    return TestOutcome(test, what, 0.1)


def only_problem(ledger: Ledger) -> Problem:
    (problem,) = ledger.problems
    return problem


def test_a_batch_without_a_result_names_each_of_its_tests_and_its_shard() -> None:
    ledger = ledger_of(results=RESULTS[1:], checked=COMPLETE.checked[1:])
    assert ledger.verdict == "partial"
    assert [(problem.kind, problem.subject) for problem in ledger.problems] == [
        ("missing", "t.py::a"),
        ("missing", "t.py::b"),
    ]
    assert all("batch 1, dealt to shard 1" in problem.detail for problem in ledger.problems)


def test_a_build_without_results_is_partial() -> None:
    ledger = ledger_of(results=(), checked=())
    assert (ledger.verdict, ledger.tests_run, ledger.balance) == ("partial", 0, 0.0)
    assert len(ledger.problems) == 3


def test_a_test_without_an_outcome_is_missing() -> None:
    ledger = ledger_of(results=(dataclasses.replace(RESULTS[0], outcomes=(outcome("t.py::a"),)), RESULTS[1]))
    assert ledger.verdict == "partial"
    assert (only_problem(ledger).kind, only_problem(ledger).subject) == ("missing", "t.py::b")


@pytest.mark.parametrize(
    ("extra", "kind"), [(outcome("t.py::new"), "unexpected"), (outcome("t.py::a", "failed"), "conflict")]
)
def test_an_outcome_too_many_is_a_contradiction(extra: TestOutcome, kind: str) -> None:
    result = dataclasses.replace(RESULTS[0], outcomes=(*RESULTS[0].outcomes, extra))
    ledger = ledger_of(results=(result, RESULTS[1]))
    assert ledger.verdict == "conflicting"
    assert (only_problem(ledger).kind, only_problem(ledger).subject) == (kind, extra.id)


@pytest.mark.parametrize("change", [{"commit": "beef"}, {"build": "6"}])
def test_a_result_of_another_build_is_foreign_and_counts_for_nothing(change: dict[str, str]) -> None:
    ledger = ledger_of(results=(dataclasses.replace(RESULTS[0], **change), RESULTS[1]))
    assert ledger.verdict == "conflicting"
    assert {problem.kind for problem in ledger.problems} == {"foreign", "missing"}
    assert ledger.tests_run == 1
    assert [file.name for file in ledger.data_files] == ["y"]


def test_a_result_for_a_batch_that_is_not_in_the_plan_is_a_contradiction() -> None:
    ledger = ledger_of(results=(*RESULTS, make_result(PLAN, "3", [described("z")])))
    assert ledger.verdict == "conflicting"
    assert (only_problem(ledger).kind, only_problem(ledger).subject) == ("conflict", "3")


@pytest.mark.parametrize(
    ("kind", "verdict"), [("missing", "partial"), ("corrupt", "partial"), ("conflict", "conflicting")]
)
def test_problems_found_while_reading_decide_the_verdict(kind: Any, verdict: str) -> None:
    found = Problem(kind, "x", "so it is")
    ledger = ledger_of(problems=(found,))
    assert (ledger.verdict, ledger.problems) == (verdict, (found,))


def test_branch_data_in_a_statement_build_is_a_contradiction() -> None:
    ledger = ledger_of(checked=(data("x"), data("y", branch=True)))
    assert ledger.verdict == "conflicting"
    assert only_problem(ledger) == Problem(
        "conflict", "y", "contains branch data in a build that measures statement coverage"
    )


def test_data_that_measured_nothing_fits_every_build() -> None:
    empty = data("y", branch=None, files=frozenset(), executed=frozenset())
    assert ledger_of(checked=(data("x"), empty)).verdict == "complete"


def test_late_data_counts_as_data_and_as_no_batch() -> None:
    late = make_result(PLAN, "late-2-token-0", [described("z")], shard=2, duration_s=0.0)
    ledger = ledger_of(results=(*RESULTS, late), checked=(*COMPLETE.checked, data("z")))
    assert ledger.verdict == "complete"
    assert [file.name for file in ledger.data_files] == ["x", "y", "z"]
    assert [share.batches for share in ledger.shares] == [1, 1]


def test_late_data_without_the_batches_is_not_complete() -> None:
    late = make_result(PLAN, "late-2-token-0", [described("z")], shard=2)
    assert ledger_of(results=(late,), checked=(data("z"),)).verdict == "partial"


def test_late_data_with_outcomes_is_a_contradiction() -> None:
    late = make_result(PLAN, "late-2-token-0", [described("z")], outcomes=(outcome("t.py::a"),))
    ledger = ledger_of(results=(*RESULTS, late))
    assert (ledger.verdict, only_problem(ledger).kind) == ("conflicting", "unexpected")


def test_one_data_file_with_two_contents_is_a_contradiction() -> None:
    results = (RESULTS[0], make_result(PLAN, "2", [described("x", "cd")], shard=2))
    ledger = ledger_of(results=results)
    assert ledger.verdict == "conflicting"
    assert (only_problem(ledger).kind, only_problem(ledger).subject) == ("conflict", "x")
    assert "1, 2" in only_problem(ledger).detail


def test_one_data_file_named_by_two_results_is_harmless() -> None:
    results = (RESULTS[0], make_result(PLAN, "2", [described("x"), described("y")], shard=2))
    ledger = ledger_of(results=results)
    assert ledger.verdict == "complete"
    assert [file.name for file in ledger.data_files] == ["x", "y"]


def test_results_that_measured_nothing_at_all_are_not_complete() -> None:
    results = tuple(dataclasses.replace(result, data_files=()) for result in RESULTS)
    assert ledger_of(results=results, checked=()).verdict == "partial"


def test_data_of_which_nothing_is_the_projects_is_refused() -> None:
    ledger = ledger_of(checked=(data("x", "/usr/lib/site-packages/app/a.py"),))
    assert ledger.verdict == "conflicting"
    assert "[paths]" in only_problem(ledger).detail


def test_a_tracer_that_no_plugin_of_the_project_provides_is_refused() -> None:
    traced = data("x", "app/b.html", tracers=(("app/b.html", "evil.Tracer"),))
    ledger = ledger_of(checked=(traced, data("y")))
    assert ledger.verdict == "conflicting"
    assert "evil.Tracer" in only_problem(ledger).detail
    assert (
        ledger_of(checked=(traced, data("y")), settings=CoverageSettings(plugins=("evil",))).verdict
        == "complete"
    )


def test_a_file_that_was_traced_in_two_ways_is_a_contradiction() -> None:
    traced = data("x", "app/b.html", tracers=(("app/b.html", "p.T"),))
    ledger = ledger_of(checked=(traced, data("y", "app/b.html")), settings=CoverageSettings(plugins=("p",)))
    assert ledger.verdict == "conflicting"
    assert "p.T" in only_problem(ledger).detail


def test_a_collision_of_paths_is_a_contradiction() -> None:
    rules = CoverageSettings(rules=(("/old/app", "app"), ("/new/app", "app")))
    ledger = ledger_of(checked=(data("x", "/old/app/a.py", "/new/app/a.py"), data("y")), settings=rules)
    assert (ledger.verdict, only_problem(ledger).subject) == ("conflicting", "x")


def test_orphans_are_neither_used_nor_an_error() -> None:
    ledger = ledger_of(strays=tuple(f".coverage.{at:02}" for at in range(12)))
    assert ledger.verdict == "complete"
    (note,) = ledger.notes
    assert "12 data files" in note
    assert ".coverage.00" in note
    assert "2 more" in note


def test_notes_are_carried_over_once_with_their_shards() -> None:
    results = tuple(
        dataclasses.replace(result, notes=("a worker died", "a worker died")) for result in RESULTS
    )
    assert ledger_of(results=results).notes == ("a worker died (shard 1, 2)",)


def test_notes_are_bounded() -> None:
    noisy = dataclasses.replace(RESULTS[0], notes=tuple(f"note {at:04}" for at in range(500)))
    notes = ledger_of(results=(noisy, RESULTS[1])).notes
    assert len(notes) == 101
    assert notes[-1].startswith("400 more notes")


def test_cores_that_differ_are_noted() -> None:
    (note,) = ledger_of(results=(RESULTS[0], dataclasses.replace(RESULTS[1], core="sysmon"))).notes
    assert "ctrace (shard 1), sysmon (shard 2)" in note


def test_files_outside_are_named_and_probable_copies_noted() -> None:
    ledger = ledger_of(checked=(data("x"), data("y", "app/a.py", "/tmp/t/x.py", "/opt/app/a.py")))
    assert ledger.verdict == "complete"
    assert ledger.outside == ("/opt/app/a.py", "/tmp/t/x.py")
    (note,) = ledger.notes
    assert "/opt/app/a.py" in note
    assert "/tmp" not in note


def test_files_outside_are_bounded() -> None:
    many = [f"/tmp/{at}.py" for at in range(MOST_OUTSIDE + 5)]
    ledger = ledger_of(checked=(data("x", "app/a.py", *many), data("y")))
    assert len(ledger.outside) == MOST_OUTSIDE
    assert str(MOST_OUTSIDE + 5) in ledger.notes[0]


def test_a_complete_build_counts_outcomes_failures_and_shares() -> None:
    crashed = dataclasses.replace(RESULTS[0], outcomes=(outcome("t.py::b", "crashed"), outcome("t.py::a")))
    plan = dataclasses.replace(PLAN, deals=(*PLAN.deals, ()))
    ledger = ledger_of(plan=plan, results=(RESULTS[1], crashed))
    assert (ledger.verdict, ledger.tests_planned, ledger.tests_run) == ("complete", 3, 3)
    assert ledger.outcomes == {"crashed": 1, "passed": 2}
    assert ledger.failures == ("t.py::b",)
    assert [(share.shard, share.batches, share.tests, share.busy_s) for share in ledger.shares] == [
        (1, 1, 2, 2.0),
        (2, 1, 1, 2.0),
        (3, 0, 0, 0.0),
    ]
    assert ledger.balance == pytest.approx(1.5)
    assert [item.id for item in outcomes_of(plan, (RESULTS[1], crashed))] == ["t.py::a", "t.py::b", "u.py::c"]


@settings(max_examples=60, deadline=None)
@given(
    tests=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    kept=st.sets(st.integers(0, 5)),
    dropped=st.sets(st.integers(0, 5)),
    order=st.randoms(use_true_random=False),
)
def test_complete_means_exactly_the_planned_outcomes_in_any_order(
    tests: list[int], kept: set[int], dropped: set[int], order: Any
) -> None:
    plan = make_plan(
        {str(at): [f"{at}::{n}" for n in range(count + 1)] for at, count in enumerate(tests)}, SOURCES
    )
    results = []
    for batch in plan.batches:
        result = make_result(plan, batch.id, [described("x")])
        if int(batch.id) in dropped:
            result = dataclasses.replace(result, outcomes=result.outcomes[1:])
        if int(batch.id) in kept:
            results.append(result)
    shuffled = list(results)
    order.shuffle(shuffled)
    evidence = Evidence(plan, tuple(results), (data("x"), data("y")))
    ledger = ledger_of(evidence)
    assert ledger == ledger_of(evidence, results=tuple(shuffled), checked=(data("y"), data("x")))
    given_ids = {item.id for result in results for item in result.outcomes}
    assert (ledger.verdict == "complete") == (given_ids == set(plan.tests))
    assert {problem.subject for problem in ledger.problems} == set(plan.tests) - given_ids
