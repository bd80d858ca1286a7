"""Cut tests into batches, and deal batches to shards, with pure functions: same input, same plan."""

from __future__ import annotations

import heapq
import shlex
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from covfleet.errors import ConfigurationError
from covfleet.model import Batch, file_of_test
from covfleet.settings.schema import GroupSettings, Settings

BATCHES_PER_WORKER = 12
"""Number of batches per worker if ``batch_s`` isn't set: enough to balance the load and to lose little with a
machine, few enough that a batch's fixed cost (store requests, fixtures of wide scope) doesn't matter."""

SHORTEST_BATCH_S = 0.5

UNKNOWN_TEST_S = 0.05
"""Expected duration of a test in a suite without any history; only the proportions matter then."""


def expected_durations(tests: Sequence[str], known: Mapping[str, float]) -> dict[str, float]:
    """Return seconds by test: its earlier duration, else the median of its file, else that of the suite."""
    by_file: dict[str, list[float]] = defaultdict(list)
    for test in tests:
        if test in known:
            by_file[file_of_test(test)].append(known[test])
    everything = [duration for durations in by_file.values() for duration in durations]
    usual = median(everything) if everything else UNKNOWN_TEST_S
    medians = {file: median(durations) for file, durations in by_file.items()}
    return {test: known.get(test, medians.get(file_of_test(test), usual)) for test in tests}


def wanted_batch_s(timings: Mapping[str, float], settings: Settings) -> float:
    """Return the target duration of a batch, in seconds."""
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
    """Cut tests into unnumbered batches of about ``batch_s`` seconds.

    ``unit="file"`` never splits a file, so that module-scoped fixtures are set up once; a file or test longer
    than a batch becomes its own batch. Neighbours stay together: they tend to import the same modules.
    """
    pieces: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        pieces[file_of_test(test) if unit == "file" else test].append(test)
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
    """Assign each file without a test to run to the batch whose first test precedes it most closely.

    That batch imports its module, as a serial run would: a neighbour has probably imported what it needs.
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
    """Return the batch of a command group. Raises ``ConfigurationError`` if the command isn't Python's."""
    test = f"group::{group.name}"
    try:
        argv = tuple(shlex.split(group.command))
    except ValueError as error:
        raise ConfigurationError(f"the command of group {group.name!r} can't be parsed: {error}") from error
    if not argv or not Path(argv[0]).name.startswith("python"):
        raise ConfigurationError(
            f"the command of group {group.name!r} doesn't start with `python`",
            hint="coverage.py runs only Python programs, such as `python -m unittest discover trades`.",
        )
    return Batch("", (test,), known.get(test, 0.0), argv)


def number(batches: Iterable[Batch]) -> tuple[Batch, ...]:
    """Return the batches with ids, longest first; commands of unknown duration come before all others."""
    ordered = sorted(batches, key=lambda batch: (batch.expected_s > 0, -batch.expected_s, batch.tests))
    return tuple(replace(batch, id=f"{index:05d}") for index, batch in enumerate(ordered, 1))


def deal(batches: Sequence[Batch], shards: int) -> tuple[tuple[str, ...], ...]:
    """Deal batches to shards, longest processing time first: each goes to the least loaded shard.

    The makespan, before any stealing, is at most 4/3 - 1/(3 * shards) of the best possible one (R. L. Graham,
    Bounds on multiprocessing timing anomalies, SIAM J. Appl. Math. 17, 1969).
    """
    deals: list[list[str]] = [[] for _ in range(shards)]
    loads = [(0.0, 0, k) for k in range(shards)]
    for batch in batches:
        load, count, k = heapq.heappop(loads)
        deals[k].append(batch.id)
        heapq.heappush(loads, (load + batch.expected_s, count + 1, k))
    return tuple(tuple(dealt) for dealt in deals)
