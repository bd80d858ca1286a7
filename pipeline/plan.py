"""The plan: which tests there are, cut into batches, dealt to shards.

Everything that decides is a pure function of its arguments: the same input gives the same plan.
"""

from __future__ import annotations

import heapq
import shlex
import tempfile
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from pipeline.builds import find_plan, read_plan
from pipeline.errors import ConfigurationError
from pipeline.history import read_timings
from pipeline.keys import BuildKeys
from pipeline.model import Batch, Checkout, ImageRef, Plan, SourceFile, to_json
from pipeline.ports import Clock, Narrate, ObjectStore, WorkerLauncher, WorkerSpec
from pipeline.settings import GroupSettings, Settings
from pipeline.sources import manifest, pack
from pipeline.transfer import probe_conditions, put_once
from pipeline.worker_client import Ready, WorkerClient, exploring

BATCHES_PER_WORKER = 12
"""How finely the whole is cut when ``batch_s`` doesn't say: fine enough to balance and to lose little with
a machine, coarse enough that a batch's fixed cost (store requests, fixtures of wide scope) doesn't count."""

SHORTEST_BATCH_S = 0.5
UNKNOWN_TEST_S = 0.05
"""Expected duration of a test of a suite that has no history at all; only the proportions matter then."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What a plan is made from."""

    store: ObjectStore
    keys: BuildKeys
    checkout: Checkout
    launcher: WorkerLauncher
    settings: Settings
    image: ImageRef | None
    clock: Clock
    narrate: Narrate


@dataclass(frozen=True, slots=True)
class Collected:
    """What the application's interpreter said: itself, and what pytest collects, in that order."""

    ready: Ready
    tests: tuple[str, ...]
    imports: tuple[str, ...] = ()  # test files that hold no test to run


def plan_build(request: PlanRequest) -> Plan:
    """Collect, cut, deal, and store the plan with the sources; return the plan that stands in the store.

    A build that has a plan keeps it: planning again changes nothing.

    Raises:
        ConfigurationError: there are no tests, or pytest or coverage are missing or too old.
        StoreError: the store ignores conditional puts, on which claims rest, or failed.
        WorkerError: the tests can't be collected.
    """
    planned = find_plan(request.store, request.keys)
    if planned is not None:
        request.narrate(f"build {planned.build} has a plan already; it stays as it is")
        return planned
    probe_conditions(request.store)
    plan = make_plan(request)
    root = Path(request.checkout.root)
    with tempfile.TemporaryDirectory(prefix="covfleet-") as folder:
        archive = Path(folder, "sources.tar.zst")
        pack(root, plan.sources, archive)
        request.store.upload(archive, request.keys.sources, content_type="application/zstd")
    put_once(request.store, request.keys.plan, to_json(plan))
    return read_plan(request.store, request.keys)


def make_plan(request: PlanRequest) -> Plan:
    """Return a new plan without storing it."""
    settings, checkout = request.settings, request.checkout
    collected = collect(request)
    if not collected.tests and not settings.groups:
        raise ConfigurationError(
            "pytest collects no tests",
            hint="Name the tests' folder in `pytest_args`, or set `pytest = false` and add a command group.",
        )
    known = read_timings(request.store, checkout.branch, request.narrate)
    timings = expected_durations(collected.tests, known)
    groups = [group_batch(group, known) for group in settings.groups]
    tests = cut(collected.tests, timings, wanted_batch_s(timings, settings), settings.unit)
    batches = number([*groups, *with_imports(tests, collected.imports)])
    return Plan(
        commit=checkout.commit,
        build=request.keys.build,
        branch=checkout.branch,
        created_at=request.clock.now().isoformat(timespec="milliseconds"),
        executor=settings.executor,
        image=request.image.reference if request.image else "",
        environment=collected.ready.environment,
        measurement=collected.ready.measurement,
        pytest_args=settings.pytest_args,
        sources=source_files(request),
        batches=batches,
        deals=deal(batches, settings.shards),
        import_all=settings.import_all,
    )


def source_files(request: PlanRequest) -> tuple[SourceFile, ...]:
    """Return the project's files, and those that ``sources`` adds, with their hashes."""
    root = Path(request.checkout.root)
    added = {
        path.relative_to(root).as_posix()
        for pattern in request.settings.sources
        for path in root.glob(pattern)
        if path.is_file()
    }
    return manifest(root, sorted({*request.checkout.files, *added}))


def collect(request: PlanRequest) -> Collected:
    """Ask the application's own pytest for the test ids; a file that can't be collected counts as a test.

    It then fails in its shard, by name, while everything else runs.
    """
    settings = request.settings
    labels = {"covfleet.build": request.keys.build, "covfleet.commit": request.keys.commit}
    with tempfile.TemporaryDirectory(prefix="covfleet-") as folder:
        spec = WorkerSpec(f"covfleet-{request.keys.build}-plan", labels, Path(folder))
        with WorkerClient(request.launcher, spec, exploring(settings)) as client:
            ready = client.start(settings.batch_timeout_s)
            if not settings.pytest:
                return Collected(ready, ())
            suite = client.collect(settings.batch_timeout_s)
    for error in suite.errors:
        request.narrate(f"{error.id} can't be collected; it will be reported as an error")
    tests = dict.fromkeys([*suite.tests, *(error.id for error in suite.errors)])
    return Collected(ready, tuple(tests), suite.imports)


def file_of(test: str) -> str:
    """Return the file of a test id: what stands before the first ``::``."""
    return test.split("::", 1)[0]


def expected_durations(tests: Sequence[str], known: Mapping[str, float]) -> dict[str, float]:
    """Return seconds by test: known ones, else the median of the test's file, else that of the suite."""
    by_file: dict[str, list[float]] = defaultdict(list)
    for test in tests:
        if test in known:
            by_file[file_of(test)].append(known[test])
    everything = [duration for durations in by_file.values() for duration in durations]
    usual = median(everything) if everything else UNKNOWN_TEST_S
    medians = {file: median(durations) for file, durations in by_file.items()}
    return {test: known.get(test, medians.get(file_of(test), usual)) for test in tests}


def wanted_batch_s(timings: Mapping[str, float], settings: Settings) -> float:
    """Return how long a batch should take, in seconds."""
    if settings.batch_s:
        return settings.batch_s
    finest = sum(timings.values()) / (settings.shards * settings.procs * BATCHES_PER_WORKER)
    return max(finest, SHORTEST_BATCH_S)


def cut(
    tests: Sequence[str],
    timings: Mapping[str, float],
    batch_s: float,
    unit: str,
) -> tuple[Batch, ...]:
    """Cut tests into batches of about ``batch_s`` seconds, not yet numbered.

    ``unit="file"`` never splits a file, so that fixtures of module scope are set up once; what is longer than
    a batch becomes a batch of its own. Neighbours stay together: they tend to import the same modules.
    """
    pieces: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        pieces[file_of(test) if unit == "file" else test].append(test)
    packed: list[list[str]] = []
    room = 0.0
    for piece in pieces.values():
        expected = sum(timings[test] for test in piece)
        if not packed or expected > room:
            packed.append([])
            room = batch_s
        packed[-1].extend(piece)
        room -= expected
    return tuple(Batch("", tuple(tests), round(sum(timings[test] for test in tests), 6)) for tests in packed)


def with_imports(batches: Sequence[Batch], imports: Iterable[str]) -> tuple[Batch, ...]:
    """Give each file without a test to run to the batch that begins next before it in the alphabet.

    Its module is imported there, as a serial run imports it: a neighbour has probably imported what it needs.
    """
    if not batches:
        return ()
    ordered = sorted(batches, key=lambda batch: batch.tests[0])
    firsts = [batch.tests[0] for batch in ordered]
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for file in imports:
        found[ordered[max(0, bisect_right(firsts, file) - 1)].tests].append(file)
    return tuple(replace(batch, imports=tuple(found.get(batch.tests, ()))) for batch in batches)


def group_batch(group: GroupSettings, known: Mapping[str, float]) -> Batch:
    """Return the batch of a command group. Raises ``ConfigurationError`` if it isn't a Python command."""
    test = f"group::{group.name}"
    try:
        argv = tuple(shlex.split(group.command))
    except ValueError as error:
        raise ConfigurationError(f"the command of group {group.name!r} can't be parsed: {error}") from error
    if not argv or not Path(argv[0]).name.startswith("python"):
        raise ConfigurationError(
            f"the command of group {group.name!r} doesn't start with `python`",
            hint="coverage.py runs Python programs: write for example `python -m unittest discover trades`.",
        )
    return Batch("", (test,), known.get(test, 0.0), argv)


def number(batches: Iterable[Batch]) -> tuple[Batch, ...]:
    """Return the batches with ids, longest first; commands whose duration isn't known go ahead."""
    ordered = sorted(batches, key=lambda batch: (batch.expected_s > 0, -batch.expected_s, batch.tests))
    return tuple(replace(batch, id=f"{index:05d}") for index, batch in enumerate(ordered, 1))


def deal(batches: Sequence[Batch], shards: int) -> tuple[tuple[str, ...], ...]:
    """Deal batches to shards, longest processing time first: each goes to the shard with the least so far.

    At most 4/3 - 1/(3 * shards) of the best possible makespan (R. L. Graham, Bounds on multiprocessing timing
    anomalies, SIAM J. Appl. Math. 17, 1969), before any stealing.
    """
    deals: list[list[str]] = [[] for _ in range(shards)]
    loads = [(0.0, 0, k) for k in range(shards)]
    for batch in batches:
        load, count, k = heapq.heappop(loads)
        deals[k].append(batch.id)
        heapq.heappush(loads, (load + batch.expected_s, count + 1, k))
    return tuple(tuple(dealt) for dealt in deals)
