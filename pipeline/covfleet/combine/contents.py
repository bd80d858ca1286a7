"""Read the contents of an untrusted data file: paths, contexts, tracers, and which files have data."""

from __future__ import annotations

import re
import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from covfleet.store.soundness import Defect

_ODD = re.compile(r"[\x00-\x1f\x7f]")
_TRACER = re.compile(r"[A-Za-z_][\w.]{0,199}", re.ASCII)
_LONGEST_PATH = 4096
_SOUND: dict[str, str] = {}  # checked paths; all shards share one copy

# Sorted by their index, many in one value: fetching a row takes longer than splitting them.
_PATHS = """
    select count(*), group_concat(path, char(10))
    from (select path from file order by path limit ? offset ?)"""
_GREATEST_PATH = "select typeof(path) from file order by path desc limit 1"  # blobs sort after any text
_TOGETHER = 2000  # paths in one value: at most 8 MB
_CONTEXTS = (
    "select count(*), coalesce(sum(typeof(context) != 'text' or instr(context, char(0))), 0) from context"
)
_TRACERS = "select path, tracer from tracer left join file on id = file_id"
_ANY_ROWS = "select exists (select 1 from line_bits), exists (select 1 from arc)"
_EXECUTED = "select distinct file_id from {table}"
# With many rows per file, one lookup per file is cheaper than reading all rows.
_EXECUTED_OFTEN = "select id from file where exists (select 1 from {table} where file_id = file.id)"
_OFTEN = 8  # contexts


class Paths(Set[str]):
    """An immutable set of paths that takes a sixth of a ``frozenset``'s memory; each shard has one."""

    __slots__ = ("_paths",)

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._paths = tuple(sorted(dict.fromkeys(paths)))  # in one step if they are sorted already

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
    """The contents of a sound data file."""

    path: Path
    name: str  # in the store
    branch: bool | None  # None: unknown, as it has no data
    files: Set[str]  # every measured path, as recorded
    executed: Set[str]  # those with at least one line or arc
    contexts: int
    tracers: tuple[tuple[str, str], ...]  # (path, name of its file tracer), sorted


def read_contents(connection: sqlite3.Connection, path: Path, name: str) -> CheckedData:
    """Return the contents of a database with coverage.py's tables.

    Raises:
        Defect: a path, context or tracer is invalid, or the file's lines or arcs contradict its own
            declaration of statement or branch data.
    """
    measured = _paths(connection)
    contexts = _contexts(connection)
    has_lines, has_arcs = map(bool, connection.execute(_ANY_ROWS).fetchone())
    query = (_EXECUTED_OFTEN if contexts > _OFTEN else _EXECUTED).format(
        table="arc" if has_arcs else "line_bits"
    )
    (count,) = connection.execute(f"select count(*) from ({query})").fetchone()  # noqa: S608 - both from above
    executed = measured  # the same for most files
    if count != len(measured):
        paths = connection.execute(f"select path from file where id in ({query})")  # noqa: S608
        executed = Paths(_SOUND[path] for (path,) in paths)
    return CheckedData(
        path=path,
        name=name,
        branch=_branch(connection, has_lines=has_lines, has_arcs=has_arcs),
        files=measured,
        executed=executed,
        contexts=contexts,
        tracers=_tracers(connection),
    )


def _paths(connection: sqlite3.Connection) -> Paths:
    if connection.execute(_GREATEST_PATH).fetchone() == ("blob",):
        raise Defect("a path is a blob")
    paths: list[str] = []
    count = _TOGETHER
    while count == _TOGETHER:
        count, joined = connection.execute(_PATHS, (_TOGETHER, len(paths))).fetchone()
        some = joined.split("\n") if joined is not None else []
        if len(some) != count:  # NULL is missing from the value, a line break adds a path
            raise Defect("a path contains control characters or is missing")
        if not _SOUND.keys() >= set(some):
            for path in some:
                _remember(path)
        paths += map(_SOUND.__getitem__, some)
    measured = Paths(paths)
    if len(measured) != len(paths):
        raise Defect("the same path is listed twice")
    return measured


def _contexts(connection: sqlite3.Connection) -> int:
    count, bad = connection.execute(_CONTEXTS).fetchone()
    if bad:
        raise Defect("a context isn't text")
    return int(count)


def _remember(path: str) -> None:
    """Check a path and keep it: all shards of a build have the same paths."""
    if not path or len(path) > _LONGEST_PATH:
        raise Defect(f"{path[:80]!r} isn't a valid path")
    if _ODD.search(path) or ".." in re.split(r"[/\\]", path):
        raise Defect(f"the path {path[:200]!r} contains control characters or '..'")
    _SOUND.setdefault(path, path)


def _branch(connection: sqlite3.Connection, *, has_lines: bool, has_arcs: bool) -> bool | None:
    values = [value for (value,) in connection.execute("select value from meta where key = 'has_arcs'")]
    if values not in ([], ["0"], ["1"]):
        raise Defect("doesn't declare clearly whether it contains branch or statement data")
    branch = values == ["1"] if values else None
    if (has_lines and branch is not False) or (has_arcs and branch is not True):
        raise Defect("contains another kind of data (branch or statement) than it declares")
    return branch


def _tracers(connection: sqlite3.Connection) -> tuple[tuple[str, str], ...]:
    tracers = []
    for path, tracer in connection.execute(_TRACERS):
        if path is None or not isinstance(tracer, str):
            raise Defect("has a file tracer without a file or without a name")
        if tracer and not _TRACER.fullmatch(tracer):
            raise Defect(f"{tracer[:80]!r} isn't the name of a file tracer")
        if tracer:
            tracers.append((path, tracer))
    return tuple(sorted(tracers))
