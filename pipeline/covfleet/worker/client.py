"""Speaks with one worker: commands out, events in. The plan and the shards use it.

The other end is ``pipeline/covfleet_worker``, which documents the protocol.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from packaging.version import Version

from covfleet.errors import ConfigurationError, WorkerError, WorkerKilledError
from covfleet.model import Environment, TestOutcome
from covfleet.ports.worker import Worker, WorkerExit, WorkerLauncher, WorkerSpec
from covfleet.settings.schema import Settings
from covfleet.worker.events import CollectionEnded, Event, Ready, TestsFound, parse_event

GRACE_S = 5.0
"""How long a worker may take after SIGTERM to save its data."""

OLDEST_COVERAGE = Version("7.10.6")
OLDEST_PYTEST = Version("7")


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What a worker is told first, in the protocol's names.

    ``branch=None``: as the application's own settings say.

    ``measure=False`` is for a worker that only collects: it says how it would measure, and then doesn't.
    ``collect_garbage``: after each test.
    """

    pytest: bool
    pytest_args: tuple[str, ...]
    branch: bool | None
    contexts: bool
    core: str
    checkpoint_s: float
    import_all: bool = False
    measure: bool = True
    collect_garbage: bool = False


def exploring(settings: Settings) -> StartOptions:
    """Return the options of a worker that only tells what it is and which tests there are."""
    return StartOptions(
        pytest=settings.pytest,
        pytest_args=settings.pytest_args,
        branch=settings.branch_coverage,
        contexts=settings.contexts,
        core=settings.core,
        checkpoint_s=settings.checkpoint_s,
        measure=False,
    )


@dataclass(frozen=True, slots=True)
class Collection:
    """What pytest collects, in its order: test ids; files without a test to run; what can't be collected."""

    tests: tuple[str, ...]
    imports: tuple[str, ...]
    errors: tuple[TestOutcome, ...]


class WorkerClient:
    """A running worker. Use as a context manager, or call ``stop``."""

    def __init__(self, launcher: WorkerLauncher, spec: WorkerSpec, options: StartOptions) -> None:
        self._options = options
        self._worker: Worker = launcher.launch(spec)

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop(GRACE_S)

    def _send(self, do: str, **fields: object) -> None:
        self._worker.send(json.dumps({"do": do, **fields}).encode() + b"\n")

    def start(self, timeout_s: float) -> Ready:
        """Have it start measuring and return what it says of itself.

        Raises:
            ConfigurationError: coverage or pytest is missing or too old there.
            WorkerKilledError: a signal ended it.
            WorkerError: it died by itself or stayed silent.
        """
        self._send("start", **asdict(self._options))
        line = self._first_line(timeout_s)
        ready = parse_event(line)
        if not isinstance(ready, Ready):
            raise WorkerError(f"the worker began with {line[:200]!r} where it should say that it is ready")
        check_environment(ready.environment, needs_pytest=self._options.pytest)
        return ready

    def _first_line(self, timeout_s: float) -> bytes:
        try:
            line = self._worker.receive(timeout_s)
        except EOFError:
            raise _failed_to_start(self.stop(GRACE_S)) from None
        if line is None:
            self.stop(0)
            raise WorkerError(
                f"the worker did not start within {timeout_s:g} s",
                hint="Does a module that is imported at start-up wait for something?",
            )
        return line

    def collect(self, timeout_s: float) -> Collection:
        """Return what pytest collects.

        Raises:
            WorkerError: it died, or took longer than ``timeout_s`` seconds.
        """
        self._send("collect")
        deadline = time.monotonic() + timeout_s
        ids: list[str] = []
        while (event := self.next_event(deadline - time.monotonic())) is not None:
            if isinstance(event, TestsFound):
                ids.extend(event.ids)
            elif isinstance(event, CollectionEnded):
                return Collection(tuple(ids), event.imports, event.errors)
        raise WorkerError(f"pytest did not collect the tests within {timeout_s:g} s")

    def next_event(self, timeout_s: float) -> Event | None:
        """Return the next event, ``None`` if none came in time. Raises ``WorkerError`` if the worker died."""
        try:
            line = self._worker.receive(max(0.0, timeout_s))
        except EOFError:
            raise _failed_to_start(self.stop(GRACE_S)) from None
        return None if line is None else parse_event(line)

    def run(self, tests: Sequence[str], imports: Sequence[str] = ()) -> None:
        """Have it run tests, and import files that hold none; what becomes of them comes as events."""
        self._send("run", tests=list(tests), imports=list(imports))

    def run_command(self, test: str, argv: Sequence[str]) -> None:
        """Have it run a command group as the test ``test``."""
        self._send("command", id=test, argv=list(argv))

    def events(self, poll_s: float) -> Iterator[Event | None]:
        """Yield events, ``None`` when none came for ``poll_s`` seconds; end when the worker is gone."""
        while True:
            try:
                line = self._worker.receive(poll_s)
            except EOFError:
                return
            yield None if line is None else parse_event(line)

    def quit(self, timeout_s: float) -> WorkerExit:
        """Let it end its test session in peace, then stop it."""
        self._send("quit")
        deadline = time.monotonic() + timeout_s
        try:
            while (left := deadline - time.monotonic()) > 0:
                self._worker.receive(left)
        except EOFError:
            return self.stop(GRACE_S)
        return self.stop(GRACE_S)

    def stop(self, grace_s: float) -> WorkerExit:
        """End it now, with ``grace_s`` seconds to save its data."""
        return self._worker.stop(grace_s)


def check_environment(environment: Environment, *, needs_pytest: bool) -> None:
    """Refuse an application whose coverage or pytest can't be used.

    Raises:
        ConfigurationError: one is missing or too old.
    """
    if Version(environment.coverage) < OLDEST_COVERAGE:
        raise ConfigurationError(
            f"coverage {environment.coverage} of the application is too old",
            hint="Install coverage 7.10.6 or newer beside the application.",
        )
    if not needs_pytest:
        return
    if not environment.pytest:
        raise ConfigurationError(
            "the application's environment has no pytest",
            hint="Install pytest 7 or newer there, or set `pytest = false` and use command groups.",
        )
    if Version(environment.pytest) < OLDEST_PYTEST:
        raise ConfigurationError(
            f"pytest {environment.pytest} of the application is too old", hint="Install pytest 7 or newer."
        )


def _failed_to_start(ended: WorkerExit) -> WorkerError | ConfigurationError:
    tail = "\n".join(ended.stderr_tail.splitlines()[-20:])
    if "No module named 'coverage'" in tail:
        return ConfigurationError(
            "the application's environment has no coverage",
            hint="Install coverage 7.10.6 or newer beside the application.",
        )
    kind = WorkerKilledError if ended.code < 0 else WorkerError
    return kind(f"the worker ended early ({ended}); it said last:\n{tail or '(nothing)'}")
