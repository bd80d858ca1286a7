"""The union of data files, written with a few statements a file instead of coverage.py's calls a row.

A data file's ids are mapped to the result's in two small tables, and its rows are copied by one ``INSERT …
SELECT`` in the order of the result's index, which costs half of what it does in any other. Most contexts come
from one data file only, since a test runs in one shard: their rows can't meet any other. Where the lines of
one file in one context do come from several data files, their bitmaps are united as Python's integers.

The tables are those of https://coverage.readthedocs.io/en/latest/dbschema.html, version 7.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from pipeline.combine.contents import SCHEMA_VERSION
from pipeline.combine.stock import opened

_MOST_UNITED = 200_000  # bitmaps in memory: about 60 MB
_AT_ONCE = 8  # data files in one transaction; SQLite attaches ten databases at most
_SETUP = """
    pragma main.cache_size = -65536;
    create temp table files (id integer primary key, new integer);
    create temp table contexts (id integer primary key, new integer);
"""

_MAPS = {
    "files": ("delete from temp.files", "insert into temp.files values (?, ?)"),
    "contexts": ("delete from temp.contexts", "insert into temp.contexts values (?, ?)"),
}
# Lines are read from their table and sorted; arcs from their index, which holds all columns, almost sorted.
_COPY_LINES = """
    insert into main.line_bits (file_id, context_id, numbits)
    select files.new, contexts.new, row.numbits from {input}.line_bits as row not indexed
    cross join files on files.id = row.file_id cross join contexts on contexts.id = row.context_id
    order by 1, 2"""
_COPY_ARCS = """
    insert or ignore into main.arc (file_id, context_id, fromno, tono)
    select files.new, contexts.new, row.fromno, row.tono from {input}.arc as row
    cross join files on files.id = row.file_id cross join contexts on contexts.id = row.context_id
    order by row.file_id, row.context_id, row.fromno, row.tono"""
_SHARED_LINES = """
    select row.file_id, contexts.new, row.numbits from {input}.line_bits as row not indexed
    cross join contexts on contexts.id = row.context_id"""
_ANY_ROWS = "select exists (select 1 from {input}.line_bits), exists (select 1 from {input}.arc)"
_UNITE_LINES = """
    insert into main.line_bits (file_id, context_id, numbits) values (?, ?, ?)
    on conflict (file_id, context_id) do update set numbits = united(numbits, excluded.numbits)"""


class UnfitError(Exception):
    """This module doesn't know what to make of a data file, or of several together: ask coverage.py."""


class Union:
    """A data file that grows by others. Use as a context manager: only a normal end makes it whole.

    The same files in any order, any number of times, give the same data.

    Args:
        out: the data file; a new one.

    Raises:
        UnfitError: coverage.py's own data files are of a schema that isn't known here.
    """

    # Without a journal: whoever fails starts again from nothing.
    _DURABILITY = "pragma main.journal_mode = off; pragma main.synchronous = off"

    def __init__(self, out: Path) -> None:
        create(out)
        self._open(out)

    def _open(self, out: Path) -> None:
        self._connection = sqlite3.connect(out.resolve().as_uri(), uri=True, isolation_level=None)
        self._connection.create_function("united", 2, _united, deterministic=True)
        self._connection.executescript(self._DURABILITY)
        self._connection.executescript(_SETUP)
        kinds = {value == "1" for (value,) in self._stored("select value from meta where key = 'has_arcs'")}
        self._branch: bool | None = kinds.pop() if kinds else None
        self._files: dict[str, int] = dict(self._stored("select path, id from file"))
        self._contexts: dict[str, int] = dict(self._stored("select context, id from context"))
        self._tracers: dict[int, str] = dict(self._stored("select file_id, tracer from tracer"))
        self._united: dict[tuple[int, int], int] = {}

    def _stored(self, query: str) -> list[Any]:
        return self._connection.execute(query).fetchall()

    def __enter__(self) -> Union:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._connection.close()

    def add(self, paths: Iterable[Path], own: Mapping[str, str]) -> None:
        """Add verified data files, which are only read.

        Args:
            paths: the data files.
            own: the project's path for each measured path; what isn't in it is left out.

        Raises:
            UnfitError: one is of another schema or kind, or has other file tracers for the same files.
            sqlite3.Error: one isn't a data file, or the result can't be written.
        """
        waiting = list(paths)
        while waiting:
            self._add_together(waiting[:_AT_ONCE], own)
            del waiting[:_AT_ONCE]

    def _add_together(self, paths: Sequence[Path], own: Mapping[str, str]) -> None:
        inputs = {f"input{number}": path for number, path in enumerate(paths)}
        for name, path in inputs.items():
            address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
            self._connection.execute(f"attach ? as {name}", (address,))
        self._connection.execute("begin")
        for name in inputs:
            self._add(name, own)
        self._connection.execute("commit")
        for name in inputs:
            self._connection.execute(f"detach {name}")

    def _add(self, name: str, own: Mapping[str, str]) -> None:
        self._check_version(name)
        branch = self._kind(name)
        files = self._files_of(name, own)
        fresh, shared = self._contexts_of(name)
        if branch:
            self._map("files", files)
            self._map("contexts", {**fresh, **shared})
            self._connection.execute(_COPY_ARCS.format(input=name))
        else:
            self._add_lines(name, files, fresh, shared)

    def _add_lines(
        self, name: str, files: Mapping[int, int], fresh: Mapping[int, int], shared: Mapping[int, int]
    ) -> None:
        """Copy the lines in new contexts, which no other row can meet; unite the others."""
        if len(set(files.values())) < len(files):  # rows of one input may meet
            fresh, shared = {}, {**fresh, **shared}
        if fresh:
            self._map("files", files)
            self._map("contexts", fresh)
            self._connection.execute(_COPY_LINES.format(input=name))
        if shared:
            self._map("contexts", shared)
            self._unite(self._connection.execute(_SHARED_LINES.format(input=name)), files)

    def _unite(self, rows: Iterable[tuple[int, int, bytes]], files: Mapping[int, int]) -> None:
        united = self._united
        for file_id, context, numbits in rows:
            if file_id in files:
                key = files[file_id], context
                united[key] = united.get(key, 0) | int.from_bytes(numbits, "little")
                if len(united) > _MOST_UNITED:
                    self._write_united()

    def _finish(self) -> None:
        """Write what is united in memory, and what is still unsaid."""
        self._connection.execute("begin")
        self._write_united()
        if self._branch is None:
            self._say_kind(branch=False)
        self._connection.execute("commit")

    def _write_united(self) -> None:
        rows = ((*key, _numbits(lines)) for key, lines in sorted(self._united.items()))
        self._connection.executemany(_UNITE_LINES, rows)
        self._united.clear()

    def _check_version(self, name: str) -> None:
        versions = self._rows("select version from {input}.coverage_schema", name)
        if versions != [(SCHEMA_VERSION,)]:
            raise UnfitError(f"schema {versions} of {name}")

    def _kind(self, name: str) -> bool | None:
        """Return whether an input has branch data; ``None``: it has none at all, and doesn't say."""
        said = self._rows("select value from {input}.meta where key = 'has_arcs'", name)
        ((lines, arcs),) = self._rows(_ANY_ROWS, name)
        branch = {"0": False, "1": True}.get(said[0][0]) if said else None
        if (lines and branch is not False) or (arcs and branch is not True):
            raise UnfitError(f"{name} holds other data than it says")
        if branch is not None and self._branch is None:
            self._say_kind(branch=branch)
        if branch is not None and branch != self._branch:
            raise UnfitError(f"{name} is of another kind")
        return branch

    def _say_kind(self, *, branch: bool) -> None:
        self._branch = branch
        self._connection.execute("insert into main.meta values ('has_arcs', ?)", (str(int(branch)),))

    def _files_of(self, name: str, own: Mapping[str, str]) -> dict[int, int]:
        """Return the result's ids for an input's files; write those that are new, and their tracers."""
        known = len(self._files)
        files = {
            number: self._files.setdefault(own[path], len(self._files) + 1)
            for number, path in self._rows("select id, path from {input}.file", name)
            if path in own
        }
        new = list(self._files.items())[known:]
        self._connection.executemany("insert into main.file (path, id) values (?, ?)", new)
        self._add_tracers(name, files, known)
        return files

    def _add_tracers(self, name: str, files: Mapping[int, int], known: int) -> None:
        tracers = dict(self._rows("select file_id, tracer from {input}.tracer", name))
        if not tracers and not self._tracers:
            return
        told = {new: self._tracers.get(new, "") for new in files.values() if new <= known}
        for old, new in files.items():
            tracer = tracers.get(old, "")
            if told.setdefault(new, tracer) != tracer or (old in tracers and not tracer):
                raise UnfitError(f"two file tracers for a file of {name}")
        fresh = {new: tracer for new, tracer in told.items() if new > known and tracer}
        self._connection.executemany("insert into main.tracer values (?, ?)", fresh.items())
        self._tracers |= fresh

    def _contexts_of(self, name: str) -> tuple[dict[int, int], dict[int, int]]:
        """Return the result's ids for an input's contexts: of new ones, which are written, and of others."""
        fresh: dict[int, int] = {}
        shared: dict[int, int] = {}
        new: list[tuple[int, str]] = []
        for number, context in self._rows("select id, context from {input}.context", name):
            if context in self._contexts:
                shared[number] = self._contexts[context]
            else:
                fresh[number] = self._contexts[context] = len(self._contexts) + 1
                new.append((fresh[number], context))
        self._connection.executemany("insert into main.context values (?, ?)", new)
        return fresh, shared

    def _map(self, table: Literal["files", "contexts"], ids: Mapping[int, int]) -> None:
        forget, note = _MAPS[table]
        self._connection.execute(forget)
        self._connection.executemany(note, ids.items())

    def _rows(self, query: str, name: str) -> list[Any]:
        return self._connection.execute(query.format(input=name)).fetchall()


def create(out: Path) -> None:
    """Write a data file with nothing in it that doesn't say yet whether it is of branch or statement data.

    Raises:
        UnfitError: coverage.py's own data files are of a schema that isn't known here.
    """
    with opened(out) as data:
        data.add_lines({})
    with contextlib.closing(sqlite3.connect(out)) as connection, connection:
        versions = connection.execute("select version from coverage_schema").fetchall()
        if versions != [(SCHEMA_VERSION,)]:
            raise UnfitError(f"coverage.py writes schema {versions}")
        connection.execute("delete from meta where key = 'has_arcs'")  # it comes with the first input


def _united(some: bytes, others: bytes) -> bytes:
    return _numbits(int.from_bytes(some, "little") | int.from_bytes(others, "little"))


def _numbits(lines: int) -> bytes:
    """Return a set of line numbers as coverage.py stores it, without zero bytes at the end."""
    return lines.to_bytes((lines.bit_length() + 7) // 8, "little")
