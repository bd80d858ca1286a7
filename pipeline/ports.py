"""What the stages need of the world: adapters implement it, stages know nothing else."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pipeline.model import Checkout, ImageRef


class Clock(Protocol):
    """Time. Machines' wall clocks may differ by hours: compare only what one clock said."""

    def now(self) -> datetime.datetime:
        """Return the wall clock's time in UTC."""

    def monotonic(self) -> float:
        """Return seconds from a fixed, arbitrary point; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's content, and the tag that changes whenever the content does."""

    data: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One line of a listing; ``modified`` is the store's clock."""

    key: str
    size_bytes: int
    etag: str
    modified: datetime.datetime


class ObjectStore(Protocol):
    """Keyed, immutable-or-replaced objects; every write is atomic, every read checked.

    Keys are those of ``pipeline.keys``, relative to the store's prefix. All methods are safe to call from
    several threads. All raise ``StoreError``, naming operation, object and fix, once bounded retries are
    used up.
    """

    url: str

    def get(self, key: str) -> StoredObject:
        """Return the object. Raises ``ObjectNotFoundError``."""

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> str:
        """Write the object and return its etag.

        Raises ``PreconditionFailedError`` if it exists (``if_absent``) or has another etag or is gone
        (``if_match``). A caller must read it back before it believes that it lost: the first attempt may
        have succeeded and its answer been lost, and the retry then fails by its own success.
        """

    def download(self, key: str, path: Path) -> None:
        """Write the object to ``path``, atomically. Raises ``ObjectNotFoundError``."""

    def upload(
        self,
        path: Path,
        key: str,
        *,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> None:
        """Write the file's content as the object, with a checksum that the store verifies."""

    def copy(
        self,
        source: str,
        key: str,
        *,
        sha256: str,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> None:
        """Write the object that has the key ``source`` as ``key``, too; on S3 no content travels.

        Raises ``ObjectNotFoundError`` if there is none, ``PreconditionFailedError`` if its content has
        another SHA-256 (in hex) than this: then nothing is written.
        """

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with ``prefix``, in the order of keys, however many."""


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


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """An image to build. Paths are the agent's; ``dockerfile`` may lie outside ``context``."""

    context: Path
    dockerfile: Path
    reference: str  # repository:tag
    labels: Mapping[str, str]
    build_args: Mapping[str, str]
    ca_bundle: Path | None = None  # given to the build's steps, never left in the image
    ignore: tuple[str, ...] = ()  # patterns as in .dockerignore, applied before those of the context's own


class ContainerEngine(Protocol):
    """Images: build, look up, push, pull. Containers are started by the docker ``WorkerLauncher``."""

    def ping(self) -> str:
        """Return the engine's version. Raises ``EngineError`` if none answers."""

    def find_image(self, reference: str) -> ImageRef | None:
        """Return the local image, or ``None``."""

    def image_labels(self, reference: str) -> Mapping[str, str]:
        """Return a local image's labels. Raises ``EngineError`` if there is no such image."""

    def inputs_digest(self, request: BuildRequest) -> str:
        """Return a hash of what decides the result: Dockerfile, build arguments, files of the context."""

    def build(self, request: BuildRequest, on_log: Callable[[str], None]) -> ImageRef:
        """Build, calling ``on_log`` with each line. Raises ``EngineError`` with the last lines."""

    def push(self, reference: str, on_log: Callable[[str], None]) -> None:
        """Push to the registry that the reference names."""

    def pull(self, reference: str, on_log: Callable[[str], None]) -> ImageRef | None:
        """Pull; ``None`` if the registry doesn't have it."""


class SourceTree(Protocol):
    """The application's checkout: git, or a plain folder."""

    def describe(self, root: Path) -> Checkout:
        """Return what names the tree and which files belong to it.

        Raises ``ConfigurationError`` if there is no such folder.
        """


Progress = Callable[[int, int], None]
"""Called with (done, total) as a long operation advances; objects, bytes or tests, as documented."""

Narrate = Callable[[str], None]
"""Called with one line of plain text for a human, without a newline."""

Paths = Sequence[tuple[Path, str]]
"""Pairs of a local file and a key."""
