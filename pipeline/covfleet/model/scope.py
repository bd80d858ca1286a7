"""What the project's settings select, and what workers saw of what they measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """An entry of coverage.py's ``source``, and where that is: ``folder`` is relative to the project.

    It is absolute outside of the project, and empty for a package that wasn't imported when it was planned.
    """

    name: str
    folder: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What the project's settings select; ``limited`` by ``source``, ``source_pkgs`` or ``include``."""

    entries: tuple[SourceEntry, ...] = ()
    limited: bool = False


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A measured file as a worker saw it after a batch; ``path`` as its data has it.

    ``written``: while the worker ran. ``environment``: of a virtual environment in the project.
    """

    path: str
    sha256: str  # empty: gone
    state: Literal["there", "gone", "written", "environment"]


@dataclass(frozen=True, slots=True)
class Stranger:
    """A package or module that ``source`` selects as ``unit``, but that was imported from ``file``."""

    name: str
    unit: str
    file: str


@dataclass(frozen=True, slots=True)
class Observed:
    """What a worker found out about what it measured; of each file and module once."""

    files: tuple[SeenFile, ...] = ()
    strangers: tuple[Stranger, ...] = ()
