"""Compare what two measuring cores see of the same tests: coverage.py's C tracer and covfleet's own.

``covfleet doctor --measure``, the nightly comparison and the project's own checks all compare cores this way.
Each core runs the tests in separate workers, which share nothing but the sources: if a core sees something in
only some of its runs, the suite itself varies, with the time, with addresses, with garbage collection.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TypeVar

from coverage import CoverageData
from coverage.exceptions import CoverageException

from covfleet.errors import WorkerError
from covfleet.model import FAILING, Batch, TestOutcome
from covfleet.ports.worker import WorkerLauncher, WorkerSpec
from covfleet.worker.client import StartOptions, WorkerClient
from covfleet.worker.events import BatchEnded

NONE, STOCK, OWN = "none", "ctrace", "monitor"

MOST_ROUNDS = 3
"""How often two cores are compared before a difference between them counts."""

_POLL_S = 0.25
_QUIT_S = 30.0

_ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""Gives sets the same order under each core."""

T = TypeVar("T")
Pair = tuple[str, int, str]
"""File, line, context."""


class ComparisonStoppedError(Exception):
    """The comparison was asked to stop."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The outcome of one run: the pairs that it saw, and the tests that failed.

    ``cpu_s`` is the CPU time of the tests without the worker's start; ``batches`` is their number.
    """

    pairs: Set[Pair]
    failed: Set[str] = frozenset()
    cpu_s: float = 0.0
    batches: int = 0


@dataclass(frozen=True, slots=True)
class CoreComparison:
    """A comparison of what the cores saw in all their runs.

    Attributes:
        unstable: pairs on which the runs of one core disagree.
        missed: pairs that the stock core always saw and covfleet's never.
        only_ours: the reverse.
        failing: tests that always failed under covfleet's core and never under the stock one.
    """

    contexts: int
    pairs: int
    unstable: frozenset[Pair]
    missed: frozenset[Pair]
    only_ours: frozenset[Pair]
    failing: frozenset[str] = frozenset()

    @property
    def is_equal(self) -> bool:
        """Whether the cores agree on everything on which each core agrees with itself."""
        return not self.missed and not self.only_ours and not self.failing

    def differences(self) -> Iterator[str]:
        """Yield each test and each pair on which the cores differ, in readable form."""
        yield from (f"fails under {OWN} only: {test}" for test in sorted(self.failing))
        for title, pairs in ((f"missed by {OWN}", self.missed), (f"only seen by {OWN}", self.only_ours)):
            yield from (f"{title}: {named(pair)}" for pair in sorted(pairs))


def named(pair: Pair) -> str:
    """Return a pair in readable form."""
    file, line, context = pair
    return f"{file}:{line} ({context or 'outside of tests'})"


def compare(stock: Sequence[Sight], own: Sequence[Sight]) -> CoreComparison:
    """Compare the runs of each core on the same tests."""
    ever, always = _ever_and_always([sight.pairs for sight in stock])
    own_ever, own_always = _ever_and_always([sight.pairs for sight in own])
    ever_failed, _ = _ever_and_always([sight.failed for sight in stock])
    _, own_always_failed = _ever_and_always([sight.failed for sight in own])
    return CoreComparison(
        contexts=len({context for _, _, context in ever}),
        pairs=len(ever),
        unstable=frozenset((ever - always) | (own_ever - own_always)),
        missed=frozenset(always - own_ever),
        only_ours=frozenset(own_always - ever),
        failing=frozenset(own_always_failed - ever_failed),
    )


def _ever_and_always(runs: Sequence[Set[T]]) -> tuple[set[T], set[T]]:
    return set[T]().union(*runs), set(runs[0]).intersection(*runs)


def compare_until_sure(look: Callable[[str, bool], Sight], rounds: int = 1) -> CoreComparison:
    """Run both cores in turns, ``rounds`` times, and then again while they seem to differ.

    ``look`` gets a core, and whether to collect garbage after each test. Repetitions do: the two cores
    produce different garbage, which would otherwise be collected, running finalizers, during different tests.
    """
    stock: list[Sight] = []
    own: list[Sight] = []
    while True:
        again = len(stock) >= rounds
        stock.append(look(STOCK, again))
        own.append(look(OWN, again))
        compared = compare(stock, own)
        if len(stock) >= rounds and (compared.is_equal or len(stock) >= MOST_ROUNDS):
            return compared


def pairs_in(folder: Path) -> set[Pair]:
    """Return all lines with their contexts in a folder's data files.

    Raises:
        WorkerError: a data file is damaged.
    """
    found: set[Pair] = set()
    for path in sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else ():
        if path.is_symlink() or not path.is_file():  # tested code may write there
            continue
        data = CoverageData(str(path))
        try:
            data.read()
            for file in data.measured_files():
                lines = data.contexts_by_lineno(file)
                found.update(
                    (file, line, context) for line, contexts in lines.items() for context in contexts
                )
        except CoverageException as error:
            raise WorkerError(f"a worker left a damaged data file: {error}") from error
        finally:
            data.close()
    return found


class Trial:
    """Runs the same tests under different cores, each time in a new worker.

    ``spec`` says what all these workers have in common; their folders lie in its own.
    """

    def __init__(
        self,
        launcher: WorkerLauncher,
        options: StartOptions,
        spec: WorkerSpec,
        *,
        timeout_s: float,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._launcher = launcher
        self._options = options
        self._spec = replace(spec, environment={**spec.environment, **_ENVIRONMENT})
        self._timeout_s = timeout_s
        self._stopped = stopped
        self._numbers = count(1)

    def run(
        self,
        core: str,
        batches: Iterable[Batch],
        *,
        collect_garbage: bool = False,
        within_s: float | None = None,
    ) -> Sight:
        """Run batches under a core (``NONE``: unmeasured), as many as start within ``within_s`` seconds.

        Raises:
            WorkerError: the worker died or exceeded the time limit of a batch.
            ConfigurationError: the worker can't measure with this core.
            ComparisonStoppedError: the comparison was asked to stop.
        """
        output_dir = self._spec.output_dir / f"{core}-{next(self._numbers)}"
        output_dir.mkdir(parents=True)
        spec = replace(self._spec, name=f"{self._spec.name}-{output_dir.name}", output_dir=output_dir)
        measured = core != NONE
        options = replace(
            self._options,
            core=core if measured else STOCK,
            contexts=measured,
            branch=False,
            measure=measured,
            collect_garbage=collect_garbage,
        )
        cpu_s, done, failed = 0.0, 0, frozenset[str]()
        try:
            with WorkerClient(self._launcher, spec, options) as worker:
                worker.start(self._timeout_s)
                began = time.monotonic()
                for batch in batches:
                    if done and within_s is not None and time.monotonic() - began > within_s:
                        break
                    batch_cpu_s, batch_failed = self._run_one(worker, batch)
                    cpu_s += batch_cpu_s
                    failed |= batch_failed
                    done += 1
                worker.quit(_QUIT_S)
            return Sight(pairs_in(output_dir / "done") if measured else set(), failed, cpu_s, done)
        finally:
            shutil.rmtree(output_dir, ignore_errors=True)

    def _run_one(self, worker: WorkerClient, batch: Batch) -> tuple[float, frozenset[str]]:
        """Run a batch; return its CPU seconds and the tests that failed."""
        failed: set[str] = set()
        worker.run(batch.tests, batch.imports)
        deadline = time.monotonic() + self._timeout_s
        for event in worker.events(_POLL_S):
            if self._stopped():
                raise ComparisonStoppedError
            if isinstance(event, TestOutcome) and event.outcome in FAILING:
                failed.add(event.id)
            if isinstance(event, BatchEnded):
                return event.cpu_s, frozenset(failed)
            if time.monotonic() > deadline:
                raise WorkerError(f"the tests took longer than {self._timeout_s:g} s: {batch.tests[0]} ...")
        raise WorkerError(f"the worker died in the batch of {batch.tests[0]} ...")
