"""Tests cut into batches, and batches dealt to shards: pure functions, the same input gives the same plan."""

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
"""How finely the whole is cut when ``batch_s`` doesn't say: fine enough to balance and to lose little with
a machine, coarse enough that a batch's fixed cost (store requests, fixtures of wide scope) doesn't count."""

SHORTEST_BATCH_S = 0.5

UNKNOWN_TEST_S = 0.05
"""Expected duration of a test of a suite that has no history at all; only the proportions matter then."""


def expected_durations(tests: Sequence[str], known: Mapping[str, float]) -> dict[str, float]:
    """Return seconds by test: known ones, else the median of the test's file, else that of the suite."""
    by_file: dict[str, list[float]] = defaultdict(list)
    for test in tests:
        if test in known:
            by_file[file_of_test(test)].append(known[test])
    everything = [duration for durations in by_file.values() for duration in durations]
    usual = median(everything) if everything else UNKNOWN_TEST_S
    medians = {file: median(durations) for file, durations in by_file.items()}
    return {test: known.get(test, medians.get(file_of_test(test), usual)) for test in tests}


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
