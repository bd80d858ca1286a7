"""What a data file holds: paths, contexts, tracers, and of which files there is data. Nothing is trusted."""

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
_SOUND: dict[str, str] = {}  # paths that were checked; one copy serves all shards

# Sorted by their index, and many in one value: to fetch a row takes longer than to split them.
_PATHS = """
    select count(*), group_concat(path, char(10))
    from (select path from file order by path limit ? offset ?)"""
_GREATEST_PATH = "select typeof(path) from file order by path desc limit 1"  # blobs are greater than any text
_TOGETHER = 2000  # paths in one value: of the longest, 8 MB
_CONTEXTS = (
    "select count(*), coalesce(sum(typeof(context) != 'text' or instr(context, char(0))), 0) from context"
)
_TRACERS = "select path, tracer from tracer left join file on id = file_id"
_ANY_ROWS = "select exists (select 1 from line_bits), exists (select 1 from arc)"
_EXECUTED = "select distinct file_id from {table}"
# With many rows a file, one look for each file is cheaper than reading all.
_EXECUTED_OFTEN = "select id from file where exists (select 1 from {table} where file_id = file.id)"
_OFTEN = 8  # contexts


class Paths(Set[str]):
    """An immutable set of paths, in a sixth of a ``frozenset``'s memory: each of many shards has one."""

    __slots__ = ("_paths",)

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._paths = tuple(sorted(dict.fromkeys(paths)))  # in one step, if they come sorted

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


def read_contents(connection: sqlite3.Connection, path: Path, name: str) -> CheckedData:
    """Return what the database holds, whose tables are coverage.py's.

    Raises:
        Defect: a path, context or tracer is none, or the file holds both or neither of lines and arcs in
            contradiction to what it says of itself.
    """
    measured = _paths(connection)
    contexts = _contexts(connection)
    has_lines, has_arcs = map(bool, connection.execute(_ANY_ROWS).fetchone())
    query = (_EXECUTED_OFTEN if contexts > _OFTEN else _EXECUTED).format(
        table="arc" if has_arcs else "line_bits"
    )
    (count,) = connection.execute(f"select count(*) from ({query})").fetchone()  # noqa: S608 - both from above
    executed = measured  # in most files it is the same
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
        raise Defect("a path is no proper path, but a blob")
    paths: list[str] = []
    count = _TOGETHER
    while count == _TOGETHER:
        count, joined = connection.execute(_PATHS, (_TOGETHER, len(paths))).fetchone()
        some = joined.split("\n") if joined is not None else []
        if len(some) != count:  # NULL isn't in it, a line break once more
            raise Defect("a path has control characters, or there is none")
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
        raise Defect("a context is not text")
    return int(count)


def _remember(path: str) -> None:
    """Check a path and keep it: the shards of a build name the same ones."""
    if not path or len(path) > _LONGEST_PATH:
        raise Defect(f"{path[:80]!r} is no proper path")
    if _ODD.search(path) or ".." in re.split(r"[/\\]", path):
        raise Defect(f"the path {path[:200]!r} has control characters or leads upwards")
    _SOUND.setdefault(path, path)


def _branch(connection: sqlite3.Connection, *, has_lines: bool, has_arcs: bool) -> bool | None:
    values = [value for (value,) in connection.execute("select value from meta where key = 'has_arcs'")]
    if values not in ([], ["0"], ["1"]):
        raise Defect("doesn't say clearly whether it holds branch or statement data")
    branch = values == ["1"] if values else None
    if (has_lines and branch is not False) or (has_arcs and branch is not True):
        raise Defect("holds other data than it says of itself: branch against statement")
    return branch


def _tracers(connection: sqlite3.Connection) -> tuple[tuple[str, str], ...]:
    tracers = []
    for path, tracer in connection.execute(_TRACERS):
        if path is None or not isinstance(tracer, str):
            raise Defect("a file tracer of no file, or without a name")
        if tracer and not _TRACER.fullmatch(tracer):
            raise Defect(f"{tracer[:80]!r} is not the name of a file tracer")
        if tracer:
            tracers.append((path, tracer))
    return tuple(sorted(tracers))
