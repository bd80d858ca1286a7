"""Communicate with one worker: send commands, receive events. The plan and the shards use it.

The other end is ``pipeline/covfleet_worker``, which documents the protocol.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath

from packaging.version import Version

from covfleet.errors import ConfigurationError, WorkerError, WorkerKilledError
from covfleet.model import Environment, TestOutcome
from covfleet.model.scope import Scope
from covfleet.ports.worker import Worker, WorkerExit, WorkerLauncher, WorkerSpec
from covfleet.settings.schema import Settings
from covfleet.text import duration
from covfleet.worker.events import (
    Collecting,
    CollectionEnded,
    Event,
    FileSelected,
    Ready,
    Refused,
    ScopeEnded,
    TestsFound,
    parse_event,
)

GRACE_S = 5.0
"""How long a worker may take to save its data after SIGTERM."""

_PYTEST_USAGE_ERROR = 4
MOST_GENERATED_BYTES = 64 * 1024**2
"""Of all files together that are measured and that git doesn't know."""

OLDEST_COVERAGE = Version("7.10.6")
OLDEST_PYTEST = Version("7")

_TOO_OLD = re.compile(r'covfleet_worker/__main__\.py", line \d+\n(.*\n){1,3}SyntaxError: ')
"""How an interpreter ends that can't read the worker: one that is older than Python 3.9."""


@dataclass(frozen=True, slots=True)
class StartOptions:
    """The options for starting a worker, with the protocol's names.

    ``branch=None``: as the application's own settings say.

    ``left_out``: files that aren't imported, with a message and an output that say why.

    ``measure=False`` is for a worker that only collects: it reports how it would measure, but doesn't.
    ``collect_garbage``: collect garbage after each test.
    ``settings``: coverage.py's, as the plan has them; if empty, the worker reads them from ``settings_file``.
    ``resolve``: have it find out what they are. Then ``settings_file`` is the file that the agent names, and
    ``checkout`` holds the content of the files of the agent's own checkout in which settings may stand.
    """

    pytest: bool
    pytest_args: tuple[str, ...]
    branch: bool | None
    contexts: bool
    core: str
    checkpoint_s: float
    import_all: bool = False
    left_out: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    measure: bool = True
    collect_garbage: bool = False
    settings: str = ""
    settings_file: str = ""
    resolve: bool = False
    checkout: Mapping[str, str] = field(default_factory=dict)


def exploring(
    settings: Settings, checkout: Mapping[str, str] | None = None, left_out: Iterable[TestOutcome] = ()
) -> StartOptions:
    """Return the options of a worker that only reports its environment and its tests."""
    return StartOptions(
        pytest=settings.pytest,
        pytest_args=settings.pytest_args,
        branch=settings.branch_coverage,
        contexts=settings.contexts,
        core=settings.core,
        checkpoint_s=settings.checkpoint_s,
        left_out=reasons(left_out),
        measure=False,
        settings_file=settings.coverage_file,
        resolve=True,
        checkout=checkout or {},
    )


def reasons(errors: Iterable[TestOutcome]) -> dict[str, tuple[str, str]]:
    """Return what a worker is told of files that it leaves out."""
    return {error.id: (error.message, error.output) for error in errors}


@dataclass(frozen=True, slots=True)
class Collection:
    """The result of pytest's collection, in its order: test ids, files without a test to run, errors."""

    tests: tuple[str, ...]
    imports: tuple[str, ...]
    errors: tuple[TestOutcome, ...]
    notes: tuple[str, ...] = ()


class PytestUsageError(ConfigurationError):
    """pytest ended as it does for a wrong option, setting or conftest.py."""


class CollectionCutError(WorkerError):
    """A worker died or hung while it collected: what it had found until then counts for nothing.

    Attributes:
        file: what it was importing; empty if no single file is to blame.
        how: how it ended, with what it said last.
        output: all that is known of what it said.
        timed_out: whether it was too slow, and not dead.
    """

    exit_code = ConfigurationError.exit_code

    def __init__(self, file: str, how: str, output: str = "", *, timed_out: bool = False) -> None:
        super().__init__(
            f"collecting the tests was cut off{f' in {file}' if file else ''}: {how}",
            hint="Nothing was planned. Does `python -m pytest --collect-only` end there?",
        )
        self.file = file
        self.how = how
        self.output = output
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class Selected:
    """What the project's settings select, and the contents of such files as the agent hasn't, by path."""

    scope: Scope
    generated: Mapping[str, bytes]


class WorkerClient:
    """A running worker. Use it as a context manager, or call ``stop``."""

    def __init__(self, launcher: WorkerLauncher, spec: WorkerSpec, options: StartOptions) -> None:
        self._options = options
        self._launcher = launcher
        self._worker: Worker = launcher.launch(spec)

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop(GRACE_S)

    def _send(self, do: str, **fields: object) -> None:
        self._worker.send(json.dumps({"do": do, **fields}).encode() + b"\n")

    def start(self, timeout_s: float) -> Ready:
        """Start measuring, and return the worker's description of itself.

        Raises:
            ConfigurationError: coverage or pytest is missing or too old there.
            WorkerKilledError: a signal killed the worker.
            WorkerError: it exited or stayed silent.
        """
        self._send("start", **asdict(self._options))
        line = self._first_line(timeout_s)
        ready = _parsed(line)
        if not isinstance(ready, Ready):
            raise WorkerError(f"the worker started with {line[:200]!r} instead of reporting that it is ready")
        check_environment(ready.environment, self._launcher, needs_pytest=self._options.pytest)
        return ready

    def _first_line(self, timeout_s: float) -> bytes:
        try:
            line = self._worker.receive(timeout_s)
        except EOFError:
            raise self._failed_to_start() from None
        if line is None:
            self.stop(0)
            raise WorkerError(
                f"the worker didn't start within {timeout_s:g} s",
                hint="Check whether a module that is imported at start-up waits for something.",
            )
        return line

    def _failed_to_start(self) -> WorkerError | ConfigurationError:
        ended = self.stop(GRACE_S)
        tail = "\n".join(ended.stderr_tail.splitlines()[-20:])
        if ended.barred:
            return ConfigurationError(
                ended.barred,
                hint="Let others enter it in the Dockerfile (chmod o+x), or set `user` in "
                "[tool.covfleet.container] to one who may.",
            )
        if ended.code == _PYTEST_USAGE_ERROR:
            return PytestUsageError(
                f"pytest can't start with these options and settings; it says:\n{tail or '(nothing)'}",
                hint="Check that `python -m pytest --collect-only` works in the project's folder.",
            )
        if "No module named 'coverage'" in tail:
            return _unfit("no coverage", self._launcher, needs_pytest=self._options.pytest)
        if _TOO_OLD.search(tail):
            return ConfigurationError(
                f"the application's interpreter is older than Python 3.9 ({self._launcher.interpreter})",
                hint="Name a newer one: --python, or `python` in [tool.covfleet].",
            )
        kind = WorkerKilledError if ended.code < 0 else WorkerError
        return kind(f"the worker ended early ({ended}); the end of its output:\n{tail or '(nothing)'}")

    def collect(self, timeout_s: float) -> Collection:
        """Return the whole result of pytest's collection. A single file may take ``timeout_s`` seconds.

        Raises:
            CollectionCutError: the worker died, or a file took longer.
        """
        self._send("collect")
        ids: list[str] = []
        file = ""
        try:
            while (event := self.next_event(timeout_s)) is not None:
                if isinstance(event, Collecting):
                    file = event.file
                elif isinstance(event, TestsFound):
                    ids.extend(event.ids)
                elif isinstance(event, CollectionEnded):
                    return Collection(tuple(ids), event.imports, event.errors, event.notes)
        except (WorkerError, PytestUsageError) as error:
            if isinstance(error, PytestUsageError) and not file:
                raise
            raise CollectionCutError(file, f"{error}", self.stop(GRACE_S).stderr_tail) from error
        raise CollectionCutError(
            file, f"it took longer than collect_timeout_s, {duration(timeout_s)}", timed_out=True
        )

    def select(self, known: Iterable[str], timeout_s: float) -> Selected:
        """Return what the settings select beside the files that are ``known``; best asked after collecting.

        Raises:
            ConfigurationError: the other files are more than 64 MiB together.
            WorkerError: it died, took longer than ``timeout_s`` seconds, or named a file outside the project.
        """
        self._send("scope", known=list(known))
        deadline = time.monotonic() + timeout_s
        generated: dict[str, bytes] = {}
        while (event := self.next_event(deadline - time.monotonic())) is not None:
            if isinstance(event, FileSelected):
                generated[_inside(event.path)] = base64.b64decode(event.content)
                _check_size(generated)
            elif isinstance(event, ScopeEnded):
                return Selected(event.scope, generated)
        raise WorkerError(f"the worker did not say within {timeout_s:g} s which files are measured")

    def next_event(self, timeout_s: float) -> Event | None:
        """Return the next event, or ``None`` after ``timeout_s`` seconds. Raises ``WorkerError``."""
        try:
            line = self._worker.receive(max(0.0, timeout_s))
        except EOFError:
            raise self._failed_to_start() from None
        return None if line is None else _parsed(line)

    def run(
        self, tests: Sequence[str], imports: Sequence[str] = (), planned_elsewhere: Sequence[str] = ()
    ) -> None:
        """Run tests, and import files without a test to run; the outcomes arrive as events.

        ``planned_elsewhere`` are further planned tests of the same files, which other batches contain.
        """
        told = {"tests": tests, "imports": imports, "planned_elsewhere": planned_elsewhere}
        self._send("run", **{name: list(ids) for name, ids in told.items()})

    def run_command(self, test: str, argv: Sequence[str]) -> None:
        """Run a command group as the test ``test``."""
        self._send("command", id=test, argv=list(argv))

    def events(self, poll_s: float) -> Iterator[Event | None]:
        """Yield events, and ``None`` after ``poll_s`` seconds without one, until the worker is gone."""
        while True:
            try:
                line = self._worker.receive(poll_s)
            except EOFError:
                return
            yield None if line is None else _parsed(line)

    def quit(self, timeout_s: float) -> WorkerExit:
        """Let the worker finish its test session, then stop it."""
        self._send("quit")
        deadline = time.monotonic() + timeout_s
        try:
            while (left := deadline - time.monotonic()) > 0:
                self._worker.receive(left)
        except EOFError:
            return self.stop(GRACE_S)
        return self.stop(GRACE_S)

    def stop(self, grace_s: float) -> WorkerExit:
        """Stop the worker now, with ``grace_s`` seconds to save its data."""
        return self._worker.stop(grace_s)


def check_environment(environment: Environment, launcher: WorkerLauncher, *, needs_pytest: bool) -> None:
    """Check that the application's coverage and pytest are usable.

    Raises:
        ConfigurationError: pytest is missing, or either is too old.
    """
    if Version(environment.coverage) < OLDEST_COVERAGE:
        found = f"coverage {environment.coverage}, which is too old"
        raise _unfit(found, launcher, needs_pytest=needs_pytest)
    if not needs_pytest:
        return
    if not environment.pytest:
        error = _unfit("no pytest", launcher, needs_pytest=True)
        error.hint += " — or, for command groups only, set `pytest = false` in [tool.covfleet]"
        raise error
    if Version(environment.pytest) < OLDEST_PYTEST:
        raise _unfit(f"pytest {environment.pytest}, which is too old", launcher, needs_pytest=True)


def _inside(path: str) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or parts.as_posix() != path or not parts.parts:
        raise WorkerError(f"the worker named {path!r} as a file of the project")
    return path


def _check_size(generated: Mapping[str, bytes]) -> None:
    if sum(map(len, generated.values())) > MOST_GENERATED_BYTES:
        names = sorted(generated, key=lambda name: -len(generated[name]))[:3]
        raise ConfigurationError(
            f"the files that `source` selects and git ignores are more than {MOST_GENERATED_BYTES} bytes, "
            f"{', '.join(names)} among them",
            hint="Leave out what isn't the project's with `omit` in its coverage settings.",
        )


def _unfit(found: str, launcher: WorkerLauncher, *, needs_pytest: bool) -> ConfigurationError:
    """Return the error of an environment that lacks something, with the command that makes up for it."""
    wanted = [f"coverage>={OLDEST_COVERAGE}", *([f"pytest>={OLDEST_PYTEST}"] if needs_pytest else [])]
    return ConfigurationError(
        f"the application's environment has {found} ({launcher.interpreter})",
        hint=f"Install what is missing there: {launcher.to_install(*wanted)}",
    )


def _parsed(line: bytes) -> Event:
    event = parse_event(line)
    if isinstance(event, Refused):
        raise ConfigurationError(event.message, hint=event.hint)
    return event
