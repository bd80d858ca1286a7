"""The union of data files, written with a few statements per file instead of coverage.py's calls per row.

``INSERT … SELECT`` copies a data file's rows in the order of the result's index, at half the cost of any
other order. A small table maps its ids to the result's, or an addition if that is enough. Most contexts come
from a single data file, since a test runs in one shard: their rows can't coincide with any others. If the
lines of one file in one context do come from several data files, their bitmaps are united as Python integers.

Copied values are checked once more on the way, whatever was checked before: the types of lines, the bounds of
lines and arcs, and contexts if they are mapped by addition; mapping them by the table leaves out rows without
a context, which earlier checks reject.

The tables are those of https://coverage.readthedocs.io/en/latest/dbschema.html, version 7.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from covfleet.combine.schema import create
from covfleet.errors import IncompleteDataError
from covfleet.store.soundness import LARGEST_LINE, SCHEMA_VERSION

_MOST_UNITED = 200_000  # bitmaps in memory: about 60 MB
_INPUTS = tuple(f"input{number}" for number in range(8))  # SQLite attaches ten databases at most
_FEW = 8  # times fewer contexts count as few: their rows are looked up instead of scanning all
_MOST_LEFT_OUT = 8  # shared contexts if fresh ones are mapped by addition; often only the empty one
_MAPPED_BYTES = 16 * 1024 * 1024  # of each input: its pages are read in place, at random
_LONGEST_VALUE = LARGEST_LINE // 8 + 4096  # bytes of one row: a bitmap up to the last line, with its ids
_SETUP = """
    pragma main.cache_size = -65536;
    create temp table files (id integer primary key, new integer);
"""
_CONTEXTS = "create temp table {input}_contexts (id integer primary key, new integer)"

# Rows are read in the order of an input's index, source by source. "refused" aborts everything; a value that
# isn't a number is also out of bounds.
_COPY_LINES = """
    insert into main.line_bits (file_id, context_id, numbits)
    select files.new, contexts.new, iif(typeof(row.numbits) = 'blob', row.numbits, refused('{input}'))
    from (select id, new from files order by new) as files
    cross join {input}.line_bits as row on row.file_id = files.id
    cross join {input}_contexts as contexts on contexts.id = row.context_id"""
_COPY_LINES_BY_ADDING = """
    insert into main.line_bits (file_id, context_id, numbits)
    select
        files.new,
        iif(typeof(row.context_id) = 'integer' and row.context_id between 1 and {last},
            row.context_id + {shift}, refused('{input}')),
        iif(typeof(row.numbits) = 'blob', row.numbits, refused('{input}'))
    from (select id, new from files order by new) as files
    cross join {input}.line_bits as row on row.file_id = files.id {only_fresh}"""
_COPY_ARCS = """
    insert or ignore into main.arc (file_id, context_id, fromno, tono)
    select ?, contexts.new, row.fromno, iif(
        row.fromno between -{most} and {most} and row.tono between -{most} and {most},
        row.tono, refused('{input}'))
    from {input}.arc as row cross join {input}_contexts as contexts on contexts.id = row.context_id
    where row.file_id = ?"""
_SHARED_LINES = """
    select row.file_id, contexts.new, iif(typeof(row.numbits) = 'blob', row.numbits, refused('{input}'))
    from {input}.line_bits as row not indexed
    cross join {input}_contexts as contexts on contexts.id = row.context_id"""
_SHARED_FEW_LINES = """
    select row.file_id, contexts.new, iif(typeof(row.numbits) = 'blob', row.numbits, refused('{input}'))
    from files cross join {input}_contexts as contexts
    cross join {input}.line_bits as row on row.file_id = files.id and row.context_id = contexts.id"""
_VERSION = """
    insert or ignore into main.meta select key, value from {input}.meta
    where key = 'version' and value glob '[0-9]*' and length(value) < 40"""
_ANY_ROWS = "select exists (select 1 from {input}.line_bits), exists (select 1 from {input}.arc)"
_UNITE_LINES = """
    insert into main.line_bits (file_id, context_id, numbits) values (?, ?, ?)
    on conflict (file_id, context_id) do update set numbits = united(numbits, excluded.numbits)"""


class UnfitError(Exception):
    """This module can't handle a data file, or a combination of several: coverage.py must do it."""


class _FileIds(dict[str, int]):
    """The result's id for each measured path, looked up once; 0 for paths that are left out."""

    def __init__(self, own: Mapping[str, str], files: dict[str, int]) -> None:
        self._own, self._files = own, files

    def __missing__(self, path: str) -> int:
        own = self._own.get(path)
        new = self[path] = self._files.setdefault(own, len(self._files) + 1) if own else 0
        return new


@dataclass(frozen=True, slots=True)
class _Contexts:
    """The result's ids for an input's contexts: ``fresh`` ones, new to the result, and ``shared`` ones."""

    fresh: Mapping[int, int]
    shared: Mapping[int, int]
    shift: int  # to add to a fresh one's id if the input numbers them ``from_one``
    from_one: bool  # and without gaps, as coverage.py does

    @property
    def is_addition(self) -> bool:
        """Whether an addition gives the result's ids of the fresh ones, and there are few others."""
        return self.from_one and len(self.shared) <= _MOST_LEFT_OUT


@contextmanager
def new_union(out: Path) -> Iterator[Union]:
    """Create the data file ``out`` and yield its union; only a normal end completes the file."""
    create(out)
    with closing(connect(out)) as connection:
        # Without a journal: after a failure everything starts anew.
        connection.executescript("pragma main.journal_mode = off; pragma main.synchronous = off")
        union = Union(connection)
        yield union
        union.finish()


def connect(file: Path) -> sqlite3.Connection:
    """Open the data file for a union; transactions begin and end only explicitly."""
    return sqlite3.connect(file.resolve().as_uri(), uri=True, isolation_level=None)


class Union:
    """The union of data files, in the tables of a data file that may already contain some.

    The same files give the same data in any order and with any repetition.

    Args:
        connection: a connection to the data file from ``connect``; the caller closes it.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.create_function("united", 2, self._unite_two, deterministic=True)
        connection.create_function("refused", 1, self._refuse)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
        connection.executescript(_SETUP)
        for name in _INPUTS:
            connection.execute(_CONTEXTS.format(input=name))
        kinds = {value == "1" for (value,) in self._stored("select value from meta where key = 'has_arcs'")}
        self._branch: bool | None = kinds.pop() if kinds else None
        self._files: dict[str, int] = dict(self._stored("select path, id from file"))
        self._contexts: dict[str, int] = dict(self._stored("select context, id from context"))
        self._last_context = max(self._contexts.values(), default=0)
        self._tracers: dict[int, str] = dict(self._stored("select file_id, tracer from tracer"))
        self._united: dict[tuple[int, int], int] = {}
        self._refused = ""  # the input with an unsound value
        self._interrupted: BaseException | None = None

    def _stored(self, query: str) -> list[Any]:
        return self._connection.execute(query).fetchall()

    def add(self, paths: Iterable[Path], own: Mapping[str, str]) -> None:
        """Add verified data files, which are only read.

        Args:
            paths: the data files.
            own: the project's path for each measured path; other paths are left out.

        Raises:
            UnfitError: one has another schema or kind, or other file tracers for the same files.
            IncompleteDataError: one has invalid lines or arcs, which checking it would have found.
            sqlite3.Error: one isn't a data file, or the result can't be written.
        """
        waiting, ids = list(paths), _FileIds(own, self._files)
        while waiting:
            self._add_together(waiting[: len(_INPUTS)], ids)
            del waiting[: len(_INPUTS)]

    def _add_together(self, paths: Sequence[Path], ids: _FileIds) -> None:
        inputs = dict(zip(_INPUTS, paths, strict=False))
        for name, path in inputs.items():
            address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
            self._connection.execute(f"attach ? as {name}", (address,))
            self._connection.execute(f"pragma {name}.mmap_size = {_MAPPED_BYTES}")
        self._connection.execute("begin")
        try:
            self._copy_arcs({name: self._add(name, ids) for name in inputs})
        except sqlite3.Error as error:
            if self._refused or isinstance(error, sqlite3.DataError):  # the latter: a value is too long
                where = inputs.get(self._refused) or ", ".join(map(str, paths))
                raise IncompleteDataError(
                    f"lines beyond {LARGEST_LINE}, of the wrong type or without a context: {where}"
                ) from error
            raise
        self._connection.execute("commit")
        for name in inputs:
            self._connection.execute(f"detach {name}")

    def _add(self, name: str, ids: _FileIds) -> Mapping[int, int]:
        """Add all of an input except its arcs; return the result's ids for the files that may have arcs."""
        self._check_version(name)
        branch = self._kind(name)
        files = self._files_of(name, ids)
        contexts = self._contexts_of(name)
        if branch:
            self._map_contexts(name, {**contexts.fresh, **contexts.shared})
            return files
        self._add_lines(name, files, contexts)
        return {}

    def _copy_arcs(self, inputs: Mapping[str, Mapping[int, int]]) -> None:
        """Copy the arcs of several inputs, source by source.

        The rows are then almost in the order of the result's index: a third cheaper than input by input.
        """
        sources = sorted(
            (new, at, old) for at, files in enumerate(inputs.values()) for old, new in files.items()
        )
        copies = [_COPY_ARCS.format(input=name, most=LARGEST_LINE) for name in inputs]
        for new, at, old in sources:
            self._connection.execute(copies[at], (new, old))

    def _add_lines(self, name: str, files: Mapping[int, int], contexts: _Contexts) -> None:
        """Copy the lines in new contexts, which can't coincide with other rows; unite the others."""
        fresh, shared = contexts.fresh, contexts.shared
        if fresh and len(set(files.values())) < len(files):  # rows of one input may coincide
            fresh, shared = {}, {**fresh, **shared}
        if fresh:
            self._map_files(files)
            self._copy_lines(name, contexts)
        if shared:
            self._map_contexts(name, shared)
            query = _SHARED_FEW_LINES if len(shared) * _FEW < len(fresh) else _SHARED_LINES
            self._unite(self._connection.execute(query.format(input=name)), files)

    def _copy_lines(self, name: str, contexts: _Contexts) -> None:
        """Copy the lines in fresh contexts. Mapping ids by addition costs a tenth less than by the table."""
        if contexts.is_addition:
            only_fresh = " ".join(f"and row.context_id is not {number}" for number in contexts.shared)
            last, shift = len(contexts.fresh) + len(contexts.shared), contexts.shift
            self._connection.execute(
                _COPY_LINES_BY_ADDING.format(input=name, last=last, shift=shift, only_fresh=only_fresh)
            )
        else:
            self._map_contexts(name, contexts.fresh)
            self._connection.execute(_COPY_LINES.format(input=name))

    def _unite(self, rows: Iterable[tuple[int, int, bytes]], files: Mapping[int, int]) -> None:
        united, number = self._united, int.from_bytes  # looked up once: there are millions of rows
        for file_id, context, numbits in rows:
            if file_id in files:
                key = files[file_id], context
                if key in united:
                    united[key] |= number(numbits, "little")
                else:
                    united[key] = number(numbits, "little")
                    if len(united) > _MOST_UNITED:
                        self.write_united()

    def finish(self) -> None:
        """Complete the data file: write the lines united in memory, and the kind of data."""
        self._connection.execute("begin")
        self.write_united()
        if self._branch is None:
            self._say_kind(branch=False)
        self._connection.execute("commit")

    def write_united(self) -> None:
        """Write the lines united in memory, in the open transaction."""
        rows = ((*key, _numbits(lines)) for key, lines in sorted(self._united.items()))
        try:
            self._connection.executemany(_UNITE_LINES, rows)
        except sqlite3.Error:
            if self._interrupted:
                raise self._interrupted from None
            raise
        self._united.clear()

    def _check_version(self, name: str) -> None:
        versions = self._rows("select version from {input}.coverage_schema", name)
        if versions != [(SCHEMA_VERSION,)]:
            raise UnfitError(f"schema {versions} of {name}")

    def _kind(self, name: str) -> bool | None:
        """Return whether an input has branch data; ``None`` if it has no data and doesn't declare a kind."""
        said = self._rows("select value from {input}.meta where key = 'has_arcs'", name)
        ((lines, arcs),) = self._rows(_ANY_ROWS, name)
        self._connection.execute(_VERSION.format(input=name))  # coverage.py's version, only for information
        branch = {"0": False, "1": True}.get(said[0][0]) if said else None
        if (lines and branch is not False) or (arcs and branch is not True):
            raise UnfitError(f"{name} contains a different kind of data than it declares")
        if branch is not None and self._branch is None:
            self._say_kind(branch=branch)
        if branch is not None and branch != self._branch:
            raise UnfitError(f"{name} contains another kind of data")
        return branch

    def _say_kind(self, *, branch: bool) -> None:
        self._branch = branch
        self._connection.execute("insert into main.meta values ('has_arcs', ?)", (str(int(branch)),))

    def _files_of(self, name: str, ids: _FileIds) -> dict[int, int]:
        """Return the result's ids for an input's files; write new files and their tracers."""
        known = len(self._files)
        files = {
            number: new
            for number, path in self._rows("select id, path from {input}.file", name)
            if (new := ids[path])
        }
        unwritten = islice(self._files.items(), known, None)
        self._connection.executemany("insert into main.file (path, id) values (?, ?)", unwritten)
        self._add_tracers(name, files, known)
        return files

    def _add_tracers(self, name: str, files: Mapping[int, int], known: int) -> None:
        tracers = dict(self._rows("select file_id, tracer from {input}.tracer", name))
        if not tracers and not self._tracers:
            return
        by_file = {new: self._tracers.get(new, "") for new in files.values() if new <= known}
        for old, new in files.items():
            tracer = tracers.get(old, "")
            if by_file.setdefault(new, tracer) != tracer or (old in tracers and not tracer):
                raise UnfitError(f"two file tracers for a file of {name}")
        fresh = {new: tracer for new, tracer in by_file.items() if new > known and tracer}
        self._connection.executemany("insert into main.tracer values (?, ?)", fresh.items())
        self._tracers |= fresh

    def _contexts_of(self, name: str) -> _Contexts:
        """Return the result's ids for an input's contexts; write new contexts."""
        rows = self._rows("select id, context from {input}.context order by id", name)
        shift = self._last_context
        fresh: dict[int, int] = {}
        shared: dict[int, int] = {}
        for place, (number, context) in enumerate(rows, 1):
            if context in self._contexts:
                shared[number] = self._contexts[context]
            else:
                fresh[number] = self._contexts[context] = self._last_context = shift + place
        new = ((context, fresh[number]) for number, context in rows if number in fresh)
        self._connection.executemany("insert into main.context (context, id) values (?, ?)", new)
        from_one = bool(rows) and (rows[0][0], rows[-1][0]) == (1, len(rows))
        return _Contexts(fresh, shared, shift, from_one)

    def _map_files(self, ids: Mapping[int, int]) -> None:
        self._connection.execute("delete from temp.files")
        self._connection.executemany("insert into temp.files values (?, ?)", ids.items())

    def _map_contexts(self, name: str, ids: Mapping[int, int]) -> None:
        self._connection.execute(f"delete from temp.{name}_contexts")  # noqa: S608 - one of _INPUTS
        self._connection.executemany(f"insert into temp.{name}_contexts values (?, ?)", ids.items())  # noqa: S608

    def _unite_two(self, some: bytes, others: bytes) -> bytes:
        """Unite two bitmaps. SQL calls this and turns any exception, even Ctrl-C's, into its own."""
        try:
            return _numbits(int.from_bytes(some, "little") | int.from_bytes(others, "little"))
        except BaseException as error:
            self._interrupted = error
            raise

    def _refuse(self, name: str) -> None:
        """Abort the statement. SQL calls this and turns the exception into ``sqlite3.Error``."""
        self._refused = name
        raise ValueError(name)

    def _rows(self, query: str, name: str) -> list[Any]:
        return self._connection.execute(query.format(input=name)).fetchall()


def _numbits(lines: int) -> bytes:
    """Return a set of line numbers as coverage.py stores it, without zero bytes at the end."""
    return lines.to_bytes((lines.bit_length() + 7) // 8, "little")
