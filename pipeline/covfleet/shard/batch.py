"""Run one batch to its end: every test gets an outcome, whatever happens to the worker.

A test counts as done once its outcome is reported *and* its coverage is on disk. If the worker dies, saved
tests are kept; tests that were reported but not saved run again; and the test that was running at that moment
runs again first, in a new process: only a test that kills its process twice is reported as crashed. So
neither a segfault nor an operator's ``kill -9`` loses a line of coverage.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from covfleet.errors import WorkerError
from covfleet.model import FAILING, Batch, Outcome, TestOutcome, file_of_test
from covfleet.model.scope import Observed
from covfleet.ports.clock import Clock
from covfleet.ports.worker import WorkerExit
from covfleet.shard.collect import DataFileCollector
from covfleet.worker.client import GRACE_S, WorkerClient
from covfleet.worker.events import BatchEnded, BatchStarted, Collecting, DataSaved, Event

POLL_S = 0.25
"""How often to check for a stop request while the worker is silent, in seconds."""

_LEFT_OUT = "(omitted: the total output of this batch's failed tests is too long)"
_DEATHS_OF_A_CRASHED_TEST = 2
_DEATHS_WITHOUT_A_TEST = 3


class BatchStoppedError(Exception):
    """The shard was asked to stop in the middle of a batch."""


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """The progress of a batch: tests with an outcome, failed tests among them, and the running test."""

    done: int = 0
    failed: int = 0
    current: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The tools for running a batch."""

    worker: Callable[[], WorkerClient]  # returns the live worker, starting one if necessary
    discard_worker: Callable[[], None]
    collector: DataFileCollector
    clock: Clock
    stopped: Callable[[], bool]
    on_progress: Callable[[BatchProgress], None]
    timeout_s: float
    collect_timeout_s: float


@dataclass(slots=True)
class _Attempt:
    """The reports of one process on its tests."""

    expected: frozenset[str]
    collecting: str = ""  # the file that it imports now
    order: list[str] = field(default_factory=list)  # the tests to run, the next one last
    reported: dict[str, TestOutcome] = field(default_factory=dict)
    saved: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    failed: int = 0
    done: bool = False
    observed: Observed = field(default_factory=Observed)

    def current(self) -> str:
        """The running test; empty if there is none."""
        while self.order and self.order[-1] in self.reported:
            self.order.pop()
        return self.order[-1] if self.order else ""

    def take(self, event: Event) -> None:
        """Record an event of the worker."""
        match event:
            case Collecting(file=file):
                self.collecting = file
            case BatchStarted(tests=tests):
                self.collecting = ""
                self.order = [test for test in reversed(tests) if test in self.expected]
            case TestOutcome(id=test) if test in self.expected:
                self.reported[test] = event
                self.failed += event.outcome in FAILING
            case DataSaved():
                self.saved.update(self.reported)
            case BatchEnded(notes=notes, observed=observed):
                self.saved.update(self.reported)
                self.observed = observed
                self.notes.extend(notes)
                self.done = True


class BatchRun:
    """One batch, from its first worker to its last.

    Attributes:
        observed: what the worker that finished it found out about what it measured.
    """

    def __init__(self, batch: Batch, around: Surroundings, planned_elsewhere: tuple[str, ...] = ()) -> None:
        self._batch = batch
        self._planned_elsewhere = planned_elsewhere
        self._around = around
        self._outcomes: dict[str, TestOutcome] = {}
        self._notes: list[str] = []
        self._deaths: Counter[str] = Counter()
        self._failed = 0
        self.observed = Observed()

    def run(self) -> tuple[tuple[TestOutcome, ...], tuple[str, ...]]:
        """Run until every test has an outcome; return the outcomes in the batch's order, and notes.

        Files that are only imported have an outcome only if their import failed.

        Raises:
            BatchStoppedError: the shard was asked to stop; nothing of the batch counts.
        """
        left = self._batch.tests
        while left:
            left = self._attempt(left)
        ids = (*self._batch.tests, *(file for file in self._batch.imports if file in self._outcomes))
        return tuple(self._outcomes[each] for each in ids), tuple(dict.fromkeys(self._notes))

    def _attempt(self, tests: tuple[str, ...]) -> tuple[str, ...]:
        """Run the tests in a worker; return those that must run again."""
        worker = self._around.worker()
        attempt = _Attempt(frozenset((*tests, *self._batch.imports)))
        if self._batch.command:
            worker.run_command(tests[0], self._batch.command)
        else:
            imports = [file for file in self._batch.imports if file not in self._outcomes]
            worker.run(tests, imports, (*self._planned_elsewhere, *self._outcomes))
        timed_out = self._listen(worker, attempt)
        self._notes += attempt.notes
        if attempt.done:
            self._around.collector.collect_handed_over()
            self.observed = attempt.observed
            self._keep(attempt, attempt.reported)
            silent = [test for test in tests if test not in attempt.reported]
            self._fail(silent, "error", "the worker finished the batch without an outcome for this test", "")
            return ()
        return self._after_death(tests, attempt, worker, timed_out=timed_out)

    def _listen(self, worker: WorkerClient, attempt: _Attempt) -> bool:
        """Follow the worker until the batch is done or the worker is gone; return whether it timed out."""
        try:
            return self._follow(worker, attempt)
        except WorkerError as error:  # a test wrote to the worker's channel: the process is no longer trusted
            self._notes.append(str(error))
            return False

    def _follow(self, worker: WorkerClient, attempt: _Attempt) -> bool:
        now = heard = self._around.clock.monotonic()
        deadline = now + self._around.timeout_s
        for event in worker.events(POLL_S):
            if self._around.stopped():
                raise BatchStoppedError
            now = self._around.clock.monotonic()
            if event is not None:
                heard = now
                attempt.take(event)
                self._around.on_progress(self._progress(attempt))
                if attempt.done:
                    return False
            if now > deadline or (attempt.collecting and now > heard + self._around.collect_timeout_s):
                return True
        return False

    def _after_death(
        self, tests: tuple[str, ...], attempt: _Attempt, worker: WorkerClient, *, timed_out: bool
    ) -> tuple[str, ...]:
        exit_ = worker.stop(GRACE_S)
        self._around.discard_worker()
        if self._around.stopped():
            raise BatchStoppedError
        kept = attempt.saved if self._around.collector.collect_left_behind() else set()
        self._keep(attempt, kept)
        left = [test for test in tests if test not in kept]
        culprit = attempt.current() or attempt.collecting
        suspects = [test for test in left if culprit in (test, file_of_test(test))]
        if culprit in self._batch.imports:
            suspects.append(culprit)
        if timed_out:
            return self._blame_for_time(attempt, suspects, left)
        self._notes.append(
            f"the worker died in the middle of a batch ({exit_}) during {culprit or 'collection'}"
        )
        return self._blame_for_death(culprit, suspects, left, exit_)

    def _blame_for_time(self, attempt: _Attempt, suspects: list[str], left: list[str]) -> tuple[str, ...]:
        limit = f"was running when the batch's time limit of {self._around.timeout_s:g} s expired"
        if attempt.collecting:
            limit = (
                f"was being collected when collect_timeout_s, {self._around.collect_timeout_s:g} s, expired"
            )
        self._notes.append(f"{attempt.current() or attempt.collecting or 'collection'} {limit}")
        guilty = suspects or left
        self._fail(guilty, "timeout", limit, "")
        return tuple(test for test in left if test not in guilty)

    def _blame_for_death(
        self, culprit: str, suspects: list[str], left: list[str], exit_: WorkerExit
    ) -> tuple[str, ...]:
        self._deaths[culprit] += 1
        allowed = _DEATHS_OF_A_CRASHED_TEST if suspects else _DEATHS_WITHOUT_A_TEST
        guilty = (suspects or left) if self._deaths[culprit] >= allowed else []
        self._fail(guilty, "crashed", f"its process died {allowed} times: {exit_}", exit_.stderr_tail)
        first = [test for test in left if test in suspects and test not in guilty]
        return (*first, *(test for test in left if test not in {*guilty, *first}))

    def _keep(self, attempt: _Attempt, tests: Iterable[str]) -> None:
        for test in tests:
            self._outcomes[test] = attempt.reported[test]
            self._failed += attempt.reported[test].outcome in FAILING

    def _progress(self, attempt: _Attempt) -> BatchProgress:
        return BatchProgress(
            len(self._outcomes) + len(attempt.reported), self._failed + attempt.failed, attempt.current()
        )

    def _fail(self, tests: Iterable[str], outcome: Outcome, message: str, output: str) -> None:
        for test in tests:
            self._outcomes[test] = TestOutcome(test, outcome, 0.0, message, output)
            self._failed += 1


def bounded(outcomes: Iterable[TestOutcome], most_characters: int = 4_000_000) -> tuple[TestOutcome, ...]:
    """Return the outcomes, omitting further outputs once their total exceeds ``most_characters``."""
    kept, room = [], most_characters
    for outcome in outcomes:
        room -= len(outcome.output)
        fits = room >= 0 or not outcome.output
        kept.append(outcome if fits else dataclasses.replace(outcome, output=_LEFT_OUT))
    return tuple(kept)
