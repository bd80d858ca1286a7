"""A worker of a shard: the application's interpreter, running tests under coverage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """How a worker process ended. ``code`` is negative for a signal, as ``subprocess`` has it."""

    code: int
    oom_killed: bool = False
    stderr_tail: str = ""

    def __str__(self) -> str:
        if self.oom_killed:
            return "killed for using too much memory"
        return f"killed by signal {-self.code}" if self.code < 0 else f"exit status {self.code}"


class Worker(Protocol):
    """A live worker: the application's interpreter running ``pipeline/covfleet_worker``.

    It speaks lines of JSON: commands on its standard input, events on its standard output.
    """

    def send(self, line: bytes) -> None:
        """Write one line, newline included. A dead worker is noticed by ``receive``, not here."""

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next line without its newline, ``None`` when none came in time.

        Raises ``EOFError`` when the worker has closed its output: it is dead or dying.
        """

    def stop(self, grace_s: float) -> WorkerExit:
        """End it: SIGTERM, then SIGKILL after ``grace_s`` seconds; also all that it started. Idempotent.

        The files in its output folder stay.
        """


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What to launch: the same for a process and a container."""

    name: str  # unique on the machine, for containers and messages: e.g. "covfleet-<build>-3-0"
    labels: Mapping[str, str]
    output_dir: Path  # an empty folder of the agent's, where the worker may write data files
    environment: Mapping[str, str] = field(default_factory=dict)  # beside that of all workers


class WorkerLauncher(Protocol):
    """Starts workers: as plain subprocesses, or each in a container of its own."""

    def launch(self, spec: WorkerSpec) -> Worker:
        """Start a worker.

        It runs ``<python> <worker> <output folder as the worker sees it>`` in the project's folder.
        Raises ``WorkerError`` or ``EngineError`` if it can't be started.
        """
