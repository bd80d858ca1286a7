"""The port to a shard's worker: the application's interpreter, running tests under coverage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """How a worker process ended. ``code`` is negative for a signal, as in ``subprocess``.

    ``barred`` says why the interpreter that was meant could not be run at all; empty otherwise.
    """

    code: int
    oom_killed: bool = False
    stderr_tail: str = ""
    barred: str = ""

    def __str__(self) -> str:
        if self.oom_killed:
            return "killed for using too much memory"
        return f"killed by signal {-self.code}" if self.code < 0 else f"exit status {self.code}"


class Worker(Protocol):
    """A live worker: the application's interpreter running ``covfleet_worker``.

    It exchanges lines of JSON: commands on its standard input, events on its standard output.
    """

    def send(self, line: bytes) -> None:
        """Write one line, newline included. ``receive`` notices a dead worker; this method doesn't."""

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next line without its newline, or ``None`` after ``timeout_s`` seconds.

        Raises ``EOFError`` if the worker has closed its output: it is dead or dying.
        """

    def stop(self, grace_s: float) -> WorkerExit:
        """Stop the worker and all its children: SIGTERM, then SIGKILL after ``grace_s`` seconds. Idempotent.

        The files in its output folder stay.
        """


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """The worker to launch, as a process or a container."""

    name: str  # unique on the machine, for containers and messages, such as "covfleet-<build>-3-0"
    labels: Mapping[str, str]
    output_dir: Path  # an empty folder on the agent for the worker's data files
    environment: Mapping[str, str] = field(default_factory=dict)  # in addition to that of all workers


class WorkerLauncher(Protocol):
    """Starts workers as plain subprocesses, or each in its own container."""

    @property
    def interpreter(self) -> str:
        """What workers run on, and why; for humans."""

    def to_install(self, *requirements: str) -> str:
        """Return what to do, ready to be pasted, so that workers find these packages."""

    def launch(self, spec: WorkerSpec) -> Worker:
        """Start a worker.

        It runs ``<python> <worker> <output folder as the worker sees it>`` in the project's folder.
        Raises ``ConfigurationError``, ``WorkerError`` or ``EngineError`` if it can't be started.
        """
