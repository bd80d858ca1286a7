"""The ledger compares the plan with the results and gives the verdict. Pure functions without a store.

The verdict is *complete* only if every planned test has exactly one outcome, nothing else has one, and every
data file that a result names exists and is sound. Missing or damaged data makes it *partial*; data that
contradicts the plan or other data makes it *conflicting*, which no option publishes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from covfleet.combine.contents import CheckedData
from covfleet.combine.paths import CoverageSettings, Resolution, collisions, look_alikes
from covfleet.combine.scope import ScopeEvidence, scope_notes, scope_problems
from covfleet.model import (
    FAILING,
    Batch,
    BatchResult,
    CoresCompared,
    DataFile,
    Ledger,
    Plan,
    Problem,
    ShardShare,
    TestOutcome,
    Verdict,
)
from covfleet.store.keys import is_late
from covfleet.text import counted, listed

MOST_NOTES = 100
MOST_OUTSIDE = 1000

_LACKING = frozenset({"missing", "corrupt"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """A build's results and data files from the store, each read and checked."""

    plan: Plan
    results: tuple[BatchResult, ...] = ()
    checked: tuple[CheckedData, ...] = ()  # the sound data files that results name, sorted by name
    problems: tuple[Problem, ...] = ()  # found while reading: damaged results, missing and damaged data files
    strays: tuple[str, ...] = ()  # the commit's data files that no result names, if that is known
    settings: CoverageSettings = field(default_factory=CoverageSettings)


def judge(evidence: Evidence, resolution: Resolution) -> Ledger:
    """Return the ledger of a build; it doesn't depend on the order of the evidence."""
    plan = evidence.plan
    results = tuple(sorted(accepted(plan, evidence.results), key=lambda result: result.batch))
    outcomes = outcomes_of(plan, results)
    batches = {batch.id: batch for batch in plan.batches}
    scope = ScopeEvidence(plan, results, evidence.checked, resolution)
    problems = chain(
        evidence.problems,
        *(_result_problems(plan, batches, result) for result in evidence.results),
        _missing(plan, results),
        _ambiguous_files(results),
        _no_data(results),
        _kind_problems(evidence.checked, branch=plan.measurement.branch),
        data_problems(evidence.checked, resolution, evidence.settings),
        scope_problems(scope),
    )
    named = tuple(sorted(set(problems), key=lambda problem: (problem.kind, problem.subject, problem.detail)))
    return Ledger(
        commit=plan.commit,
        build=plan.build,
        branch=plan.branch,
        verdict=verdict(named),
        tests_planned=len(plan.tests),
        outcomes=dict(sorted(Counter(outcome.outcome for outcome in outcomes).items())),
        failures=tuple(outcome.id for outcome in outcomes if outcome.outcome in FAILING),
        problems=named,
        notes=(*scope_notes(scope), *_notes(evidence, results, scope)),
        data_files=tuple(sorted({file for result in results for file in result.data_files}, key=_name)),
        shares=_shares(plan, results),
        outside=resolution.outside[:MOST_OUTSIDE],
        cores=_cores(results),
        uncertain=tuple(outcome.id for outcome in outcomes if outcome.uncertain),
    )


def verdict(problems: Iterable[Problem]) -> Verdict:
    """Return the verdict of a planned build with these problems."""
    kinds = {problem.kind for problem in problems}
    if kinds - _LACKING:
        return "conflicting"
    return "partial" if kinds else "complete"


def accepted(plan: Plan, results: Iterable[BatchResult]) -> Iterator[BatchResult]:
    """Yield the results of this build that belong to a batch in its plan, or to none (late data)."""
    batches = {batch.id for batch in plan.batches}
    return (
        result
        for result in results
        if (result.commit, result.build) == (plan.commit, plan.build)
        and (result.batch in batches or is_late(result.batch))
    )


def outcomes_of(plan: Plan, results: Iterable[BatchResult]) -> tuple[TestOutcome, ...]:
    """Return an outcome for each planned test and each file to import that has one, in plan order."""
    found = {
        (result.batch, outcome.id): outcome
        for result in accepted(plan, results)
        for outcome in reversed(result.outcomes)
    }
    wanted = ((batch.id, test) for batch in plan.batches for test in (*batch.tests, *batch.imports))
    return tuple(found[key] for key in wanted if key in found)


def data_problems(
    checked: Sequence[CheckedData], resolution: Resolution, settings: CoverageSettings
) -> Iterator[Problem]:
    """Yield the contradictions between sound data files, in the project's paths."""
    for data in checked:
        yield from collisions(data, resolution)
    yield from _tracer_problems(checked, resolution.own, settings.plugins)
    measured = frozenset().union(*(data.executed for data in checked))
    if measured and measured.isdisjoint(resolution.own):
        yield Problem(
            "conflict",
            min(measured),
            f"none of the {len(measured)} executed files belongs to the project: if the tests ran against "
            "copies, map them in [paths] of the project's coverage settings",
        )


def outside_notes(resolution: Resolution, known: Iterable[str], copies: Container[str] = ()) -> Iterator[str]:
    """Yield notes on the measured files that were left out, less the ``copies`` that are named elsewhere."""
    if len(resolution.outside) > MOST_OUTSIDE:
        yield f"{len(resolution.outside)} measured files are outside the project; {MOST_OUTSIDE} are listed"
    alike = look_alikes(resolution.outside, known)
    if perhaps := [path for path in alike if path not in copies]:
        yield (
            f"left out, although they may be copies of the project's files: {listed(perhaps)}; "
            "to include them, add a rule to [paths] of the project's coverage settings"
        )


def _name(file: DataFile) -> tuple[str, str]:
    return file.name, file.sha256


def _result_problems(plan: Plan, batches: Mapping[str, Batch], result: BatchResult) -> Iterator[Problem]:
    whose = f"shard {result.shard} gave a result"
    if (result.commit, result.build) != (plan.commit, plan.build):
        detail = f"{whose} of build {result.build} of commit {result.commit}, not of this one"
        yield Problem("foreign", result.batch, detail)
    elif is_late(result.batch):
        detail = f"{whose} with tests where only data is allowed"
        yield from (Problem("unexpected", outcome.id, detail) for outcome in result.outcomes)
    elif result.batch not in batches:
        yield Problem("conflict", result.batch, f"{whose} for a batch that isn't in the plan")
    else:
        yield from _outcome_problems(batches[result.batch], result)


def _outcome_problems(batch: Batch, result: BatchResult) -> Iterator[Problem]:
    where = f"in the result of batch {batch.id} by shard {result.shard}"
    counts = Counter(outcome.id for outcome in result.outcomes)
    planned = {*batch.tests, *batch.imports}
    for test, count in counts.items():
        if test not in planned:
            yield Problem("unexpected", test, f"has an outcome {where}, but isn't planned there")
        elif count > 1:
            yield Problem("conflict", test, f"has {count} outcomes {where}")
    for test in batch.tests:
        if test not in counts:
            yield Problem("missing", test, f"has no outcome {where}")


def _missing(plan: Plan, results: Sequence[BatchResult]) -> Iterator[Problem]:
    dealt = {batch: shard for shard, deal in enumerate(plan.deals, start=1) for batch in deal}
    received = {result.batch for result in results}
    for batch in plan.batches:
        if batch.id not in received:
            detail = f"batch {batch.id}, dealt to shard {dealt.get(batch.id, '?')}, has no sound result"
            yield from (Problem("missing", test, detail) for test in batch.tests)


def _ambiguous_files(results: Iterable[BatchResult]) -> Iterator[Problem]:
    versions = defaultdict(set)
    batches = defaultdict(set)
    for result in results:
        for file in result.data_files:
            versions[file.name].add(file)
            batches[file.name].add(result.batch)
    for name, files in versions.items():
        if len(files) > 1:
            where = listed(sorted(batches[name]))
            yield Problem(
                "conflict", name, f"results describe {len(files)} different contents of it: batches {where}"
            )


def _no_data(results: Sequence[BatchResult]) -> Iterator[Problem]:
    # Not required of each batch: one that executes only what earlier batches did may have nothing to add.
    if results and not any(result.data_files for result in results):
        yield Problem("missing", "coverage data", "no result names a data file: nothing was measured")


def _kind_problems(checked: Iterable[CheckedData], *, branch: bool) -> Iterator[Problem]:
    kinds = {True: "branch", False: "statement"}
    for data in checked:
        if data.branch is not None and data.branch != branch:
            detail = f"contains {kinds[data.branch]} data in a build that measures {kinds[branch]} coverage"
            yield Problem("conflict", data.name, detail)


def _tracer_problems(
    checked: Sequence[CheckedData], own: Mapping[str, str], plugins: Sequence[str]
) -> Iterator[Problem]:
    """Yield unknown tracers, which would crash the reports, and files with two different tracers."""
    if not any(data.tracers for data in checked):
        return
    seen: dict[str, tuple[str, str]] = {}
    for data in checked:
        tracers = dict(data.tracers)
        for path in sorted(data.files & own.keys()):
            tracer = tracers.get(path, "")
            if tracer and tracer.rpartition(".")[0] not in plugins:
                detail = f"{path}: its file tracer {tracer} isn't a plugin in the project's coverage settings"
                yield Problem("foreign", data.name, detail)
            first, name = seen.setdefault(own[path], (tracer, data.name))
            if first != tracer:
                by = f"{tracer or 'Python'}, but by {first or 'Python'} in {name}"
                detail = f"{own[path]} was traced by {by}"
                yield Problem("conflict", data.name, detail)


def _notes(evidence: Evidence, results: Sequence[BatchResult], scope: ScopeEvidence) -> Iterator[str]:
    yield from _core_notes(_cores(results))
    yield from _uncertain_notes(outcomes_of(evidence.plan, results))
    shards_by_note = defaultdict(set)
    shards_by_core = defaultdict(set)
    for result in results:
        shards_by_core[result.core].add(result.shard)
        for note in result.notes:
            shards_by_note[note].add(result.shard)
    notes = sorted(shards_by_note)
    yield from (f"{note} ({_shards(shards_by_note[note])})" for note in notes[:MOST_NOTES])
    if len(notes) > MOST_NOTES:
        yield f"{counted(len(notes) - MOST_NOTES, 'more note')} from shards are in their results"
    shards_by_core.pop("", None)
    if len(shards_by_core) > 1:
        cores = (f"{core} ({_shards(shards)})" for core, shards in sorted(shards_by_core.items()))
        yield f"coverage.py measured with different cores: {', '.join(cores)}"
    if evidence.strays:
        files = counted(len(evidence.strays), "data file")
        yield f"ignored {files} that no result names: {listed(evidence.strays)}"
    yield from outside_notes(scope.resolution, scope.planned, set(scope.copies))


def _cores(results: Sequence[BatchResult]) -> CoresCompared | None:
    """Add up the comparisons of the cores on all batches."""
    found = [result.cores for result in results if result.cores is not None]
    if not found:
        return None
    return CoresCompared(
        batches=sum(each.batches for each in found),
        pairs=sum(each.pairs for each in found),
        unstable=sum(each.unstable for each in found),
        missed=sum(each.missed for each in found),
        only_ours=sum(each.only_ours for each in found),
        failing=sum(each.failing for each in found),
        differences=tuple(text for each in found for text in each.differences)[:MOST_NOTES],
        failures=tuple(text for each in found for text in each.failures)[:MOST_NOTES],
    )


def _uncertain_notes(outcomes: Iterable[TestOutcome]) -> Iterator[str]:
    """Yield a note for each way in which tests switched measuring off."""
    tests = defaultdict(list)
    for outcome in outcomes:
        if outcome.uncertain:
            tests[outcome.uncertain].append(outcome.id)
    for reason, ids in sorted(tests.items()):
        yield f"{reason} in {listed(ids)}: lines that only they ran after that are uncertain, no others"


def _core_notes(cores: CoresCompared | None) -> Iterator[str]:
    if cores is None:
        return
    seen = f"{counted(cores.pairs, 'pair')} of line and context, in {counted(cores.batches, 'batch')}"
    if cores.missed or cores.failing:
        misses = [f"misses {counted(cores.missed, 'pair')}"] if cores.missed else []
        fails = [f"makes {counted(cores.failing, 'test')} fail"] if cores.failing else []
        yield (
            f"THE CORES DIFFER: covfleet's own {' and '.join(misses + fails)}, of {seen}; "
            'set core = "ctrace", and report this as a bug in covfleet'
        )
    if cores.only_ours:
        yield (
            f"covfleet's core for contexts sees {cores.only_ours:,} more than the C tracer, of {seen}; "
            "the C tracer loses lines, too: check whether these can run"
        )
    if cores.batches and not cores.missed and not cores.only_ours and not cores.failing:
        yield f"the cores for contexts agree on {seen}"
    yield from cores.differences
    yield from cores.failures


def _shards(shards: Iterable[int]) -> str:
    return "shard " + ", ".join(str(shard) for shard in sorted(shards))


def _shares(plan: Plan, results: Sequence[BatchResult]) -> tuple[ShardShare, ...]:
    by_shard: dict[int, list[BatchResult]] = {shard: [] for shard in range(1, plan.shards + 1)}
    for result in results:
        by_shard.setdefault(result.shard, []).append(result)
    return tuple(
        ShardShare(
            shard=shard,
            batches=sum(not is_late(result.batch) for result in own),
            tests=sum(len(result.outcomes) for result in own),
            busy_s=sum(result.duration_s for result in own),
        )
        for shard, own in sorted(by_shard.items())
    )
