"""What a data file holds, read as SQL that trusts nothing: schema, rows, references, bounds.

The tables are those of https://coverage.readthedocs.io/en/latest/dbschema.html, version 7, which
coverage.py 7.10.6 to 7.17 write.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.combine.schema import SCHEMA_VERSION

LARGEST_LINE = 10_000_000  # no source file has more lines; a data file that says so is damaged or hostile

_TABLES = {
    "coverage_schema": ("version",),
    "meta": ("key", "value"),
    "file": ("id", "path"),
    "context": ("id", "context"),
    "line_bits": ("file_id", "context_id", "numbits"),
    "arc": ("file_id", "context_id", "fromno", "tono"),
    "tracer": ("file_id", "tracer"),
}
_ODD = re.compile(r"[\x00-\x1f\x7f]")
_TRACER = re.compile(r"[A-Za-z_][\w.]{0,199}", re.ASCII)
_LONGEST_PATH = 4096

_BAD_CONTEXT = "select 1 from context where typeof(context) != 'text' or instr(context, char(0)) limit 1"
_BAD_LINES = """
    select 1 from line_bits where typeof(numbits) != 'blob'
    or file_id not in (select id from file) or context_id not in (select id from context) limit 1"""
_FAR_LINES = "select 1 from line_bits where length(numbits) > ? limit 1"
_BAD_ARCS = """
    select 1 from arc where typeof(fromno) != 'integer' or typeof(tono) != 'integer'
    or file_id not in (select id from file) or context_id not in (select id from context) limit 1"""
_FAR_ARCS = "select 1 from arc where max(abs(fromno), abs(tono)) > ? limit 1"


class Defect(Exception):  # noqa: N818 - it never leaves this package: it becomes a Problem
    """What is wrong with a data file."""


class Paths(Set[str]):
    """An immutable set of paths, in a sixth of a ``frozenset``'s memory: each of many shards has one."""

    __slots__ = ("_paths",)

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._paths = tuple(sorted(set(paths)))

    def __contains__(self, path: object) -> bool:
        at = bisect_left(self._paths, path) if isinstance(path, str) else len(self._paths)
        return self._paths[at : at + 1] == (path,)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __and__(self, other: Set[Any]) -> frozenset[str]:
        return frozenset(self._paths).intersection(other)

    def __hash__(self) -> int:
        return self._hash()

    def __repr__(self) -> str:
        return f"Paths({list(self._paths)})"


@dataclass(frozen=True, slots=True)
class CheckedData:
    """What a sound data file holds."""

    path: Path
    name: str  # in the store
    branch: bool | None  # None: it measured nothing, so it doesn't say
    files: Set[str]  # every measured path, as it was recorded
    executed: Set[str]  # those of them with at least one line or arc
    contexts: int
    tracers: tuple[tuple[str, str], ...]  # (path, name of its file tracer), sorted


def check_schema(connection: sqlite3.Connection) -> None:
    """Refuse anything but coverage.py's own tables, and pages that contradict each other.

    Raises:
        Defect: the version is another one, or there are views, triggers, virtual tables, further tables or
            indexes, generated columns, or damaged pages.
    """
    tables = dict.fromkeys(_TABLES, False)
    for kind, name, root, sql in connection.execute("select type, name, rootpage, sql from sqlite_master"):
        if kind == "index" and sql is None:
            continue  # SQLite's own, for a unique constraint
        if kind != "table" or name not in tables or not root:
            raise Defect(f"holds a {kind} {str(name)[:80]!r}, which is none of coverage.py's")
        tables[name] = True
    if not tables["coverage_schema"]:
        raise Defect("is an SQLite database, but not coverage.py's")
    versions = connection.execute("select version from coverage_schema limit 2").fetchall()
    if versions != [(SCHEMA_VERSION,)]:
        found = ", ".join(str(version)[:20] for (version,) in versions) or "none"
        raise Defect(f"has schema version {found}; covfleet reads version {SCHEMA_VERSION}")
    for name, wanted in _TABLES.items():
        columns = connection.execute(f"pragma table_xinfo({name})").fetchall()
        if tuple(column[1] for column in columns if not column[6]) != wanted or len(columns) != len(wanted):
            raise Defect(f"its table {name!r} is missing or has other columns than coverage.py's")
    verdict = connection.execute("pragma integrity_check(1)").fetchone()[0]
    if verdict != "ok":
        raise Defect(f"its pages are damaged: {verdict}")


def read_contents(connection: sqlite3.Connection, path: Path, name: str) -> CheckedData:
    """Return what the database holds.

    Raises:
        Defect: a value is of another type or beyond its bounds, a row refers to nothing, or the file holds
            both or neither of lines and arcs in contradiction to what it says of itself.
    """
    files = _files(connection)
    _check_rows(connection)
    lines = {file_id for (file_id,) in connection.execute("select distinct file_id from line_bits")}
    arcs = {file_id for (file_id,) in connection.execute("select distinct file_id from arc")}
    (contexts,) = connection.execute("select count(*) from context").fetchone()
    measured = Paths(files.values())
    executed = Paths(files[file_id] for file_id in lines | arcs)
    return CheckedData(
        path=path,
        name=name,
        branch=_branch(connection, has_lines=bool(lines), has_arcs=bool(arcs)),
        files=measured,
        executed=measured if len(executed) == len(measured) else executed,  # in most files it is the same
        contexts=contexts,
        tracers=_tracers(connection, files),
    )


def _files(connection: sqlite3.Connection) -> dict[int, str]:
    files: dict[int, str] = {}
    for file_id, path in connection.execute("select id, path from file"):
        if not isinstance(path, str) or not path or len(path) > _LONGEST_PATH:
            raise Defect(f"file {file_id} has no proper path")
        files[file_id] = _sound(path)
    if len(set(files.values())) != len(files):
        raise Defect("the same path is listed twice")
    return files


@functools.lru_cache(maxsize=100_000)  # the shards of a build name the same files: check and keep them once
def _sound(path: str) -> str:
    if _ODD.search(path) or ".." in re.split(r"[/\\]", path):
        raise Defect(f"the path {path[:200]!r} has control characters or leads upwards")
    return path


def _check_rows(connection: sqlite3.Connection) -> None:
    def any_row(query: str, *bound: int) -> bool:
        return connection.execute(query, bound).fetchone() is not None

    if any_row(_BAD_CONTEXT):
        raise Defect("a context is not text")
    if any_row(_BAD_LINES):
        raise Defect("has lines of no file or context, or of the wrong type")
    if any_row(_BAD_ARCS):
        raise Defect("has arcs of no file or context, or of the wrong type")
    if any_row(_FAR_LINES, LARGEST_LINE // 8 + 1) or any_row(_FAR_ARCS, LARGEST_LINE):
        raise Defect(f"has line numbers beyond {LARGEST_LINE}")


def _branch(connection: sqlite3.Connection, *, has_lines: bool, has_arcs: bool) -> bool | None:
    values = [value for (value,) in connection.execute("select value from meta where key = 'has_arcs'")]
    if values not in ([], ["0"], ["1"]):
        raise Defect("doesn't say clearly whether it holds branch or statement data")
    branch = values == ["1"] if values else None
    if (has_lines and branch is not False) or (has_arcs and branch is not True):
        raise Defect("holds other data than it says of itself: branch against statement")
    return branch


def _tracers(connection: sqlite3.Connection, files: dict[int, str]) -> tuple[tuple[str, str], ...]:
    tracers = []
    for file_id, tracer in connection.execute("select file_id, tracer from tracer"):
        if file_id not in files or not isinstance(tracer, str):
            raise Defect("a file tracer of no file, or without a name")
        if tracer and not _TRACER.fullmatch(tracer):
            raise Defect(f"{tracer[:80]!r} is not the name of a file tracer")
        if tracer:
            tracers.append((files[file_id], tracer))
    return tuple(sorted(tracers))
