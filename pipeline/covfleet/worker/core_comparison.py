"""What two measuring cores see of the same tests: coverage.py's C tracer, and covfleet's own.

``covfleet doctor --measure``, the nightly comparison and the project's own checks compare cores in one way.
Each core sees the tests in workers of its own, which share nothing but the sources: what a core has seen in
some runs only is the suite's own, for it depends on the time, on addresses, on when garbage is collected.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import MappingProxyType
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
"""How often two cores are compared before a difference between them is believed."""

_POLL_S = 0.25
_QUIT_S = 30.0

_ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""In which sets have one order, whichever core looks."""

T = TypeVar("T")
Pair = tuple[str, int, str]
"""File, line, context."""


class ComparisonStoppedError(Exception):
    """The comparison was told to stop."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one run gave: what it saw, and which tests failed.

    ``cpu_s`` is that of the tests, without the worker's start; ``batches`` were run.
    """

    pairs: Set[Pair]
    failed: Set[str] = frozenset()
    cpu_s: float = 0.0
    batches: int = 0


@dataclass(frozen=True, slots=True)
class CoreComparison:
    """What the cores saw, in all their runs.

    Attributes:
        unstable: what the runs of one core disagree on.
        missed: what covfleet's core never saw, and the stock one always.
        only_ours: the reverse.
        failing: tests that always failed under covfleet's core, and never under the stock one.
    """

    contexts: int
    pairs: int
    unstable: frozenset[Pair]
    missed: frozenset[Pair]
    only_ours: frozenset[Pair]
    failing: frozenset[str] = frozenset()

    @property
    def is_equal(self) -> bool:
        """Whether the cores agree on all that a core agrees on with itself."""
        return not self.missed and not self.only_ours and not self.failing

    def differences(self) -> Iterator[str]:
        """Yield each test and each pair on which the cores differ, as a reader would look them up."""
        yield from (f"fails under {OWN} only: {test}" for test in sorted(self.failing))
        for title, pairs in ((f"missed by {OWN}", self.missed), (f"only seen by {OWN}", self.only_ours)):
            yield from (f"{title}: {named(pair)}" for pair in sorted(pairs))


def named(pair: Pair) -> str:
    """Return a pair as a reader would look it up."""
    file, line, context = pair
    return f"{file}:{line} ({context or 'outside of tests'})"


def compare(stock: Sequence[Sight], own: Sequence[Sight]) -> CoreComparison:
    """Compare what some runs of each core saw of the same tests."""
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
    """Let both cores look, in turns, ``rounds`` times, and then again while they seem to differ.

    ``look`` is given a core, and whether to collect garbage after each test. It does so when it looks again:
    the two cores leave different garbage, so it is collected, and finalizers run, during different tests.
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
        WorkerError: one of them is none.
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
    """Runs the same tests under one core after the other, each time in a new worker."""

    def __init__(
        self,
        launcher: WorkerLauncher,
        options: StartOptions,
        folder: Path,
        *,
        timeout_s: float,
        labels: Mapping[str, str] = MappingProxyType({}),
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._launcher = launcher
        self._options = options
        self._folder = folder
        self._timeout_s = timeout_s
        self._labels = labels
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
        """Run batches under a core (``NONE``: unmeasured), as many as begin within ``within_s`` seconds.

        Raises:
            WorkerError: the worker died, or took longer than the time limit for a batch.
            ConfigurationError: it can't measure with this core.
            ComparisonStoppedError: it was told to stop.
        """
        output_dir = self._folder / f"{core}-{next(self._numbers)}"
        output_dir.mkdir(parents=True)
        name = f"covfleet-{self._folder.parent.name}-{output_dir.name}"
        spec = WorkerSpec(name, self._labels, output_dir, _ENVIRONMENT)
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
        """Run a batch; return the CPU seconds that it took, and the tests that failed."""
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
        raise WorkerError(f"the worker ended in the middle of {batch.tests[0]} ...")
