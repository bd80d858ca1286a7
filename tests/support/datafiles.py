"""Makers of coverage data files, good and hostile."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from coverage import CoverageData

Rows = Mapping[str, Mapping[str, Iterable[Any]]]
"""Context -> path -> line numbers, or pairs of them for branch data."""


def write_data(
    path: Path,
    rows: Rows,
    *,
    branch: bool = False,
    touched: Iterable[str] = (),
    tracers: Mapping[str, str] | None = None,
) -> Path:
    """Write a data file as coverage.py would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = CoverageData(str(path))
    add = data.add_arcs if branch else data.add_lines
    add({})
    for context, files in rows.items():
        data.set_context(context)
        add({name: set(numbers) for name, numbers in files.items()})
    data.touch_files(list(touched))
    data.add_file_tracers(dict(tracers or {}))
    data.write()
    data.close(force=True)
    return path


def lines(path: Path, **files: Iterable[int]) -> Path:
    """Write statement data without contexts; ``pkg__a`` stands for ``pkg/a.py``."""
    return write_data(path, {"": {name.replace("__", "/") + ".py": nums for name, nums in files.items()}})


def tampered(path: Path, script: str) -> Path:
    """Run SQL on a data file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _bomb(data: bytes) -> bytes:
    import zstandard

    return zstandard.compress(bytes(64 * 1024 * 1024))


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "truncated": _cut,
    "flipped": _flip,
    "html": lambda data: b"<html><body>503 Slow Down</body></html>",
    "garbage": lambda data: bytes(range(256)) * 64,
    "compressed bomb": _bomb,
    "header only": lambda data: data[:100],
    "grown": lambda data: data + bytes(4096),
}
"""Ways in which bytes get damaged."""

HOSTILE: dict[str, tuple[str, str]] = {
    "a view that recurses": (
        """alter table file rename to hidden; create view file as with recursive r(id, path) as
        (select 1, 'a.py' union all select id + 1, path from r) select id, path from r""",
        "contains the",
    ),
    "a trigger": (
        "create trigger t after insert on file begin delete from arc; end",
        "contains the trigger 't'",
    ),
    "a virtual table": ("create virtual table v using fts5(x)", "contains the table 'v'"),
    "a virtual table under a known name": (
        """drop table tracer; pragma writable_schema = on; insert into sqlite_master values
        ('table', 'tracer', 'tracer', 0, 'create virtual table tracer using fts5(file_id, tracer)')""",
        "contains the table 'tracer'",
    ),
    "a further table": ("create table extra (x)", "contains the table 'extra'"),
    "an index over an expression": ("create index i on file (upper(path))", "contains the index 'i'"),
    "a generated column": (
        "drop table tracer; create table tracer (file_id integer primary key, tracer as (zeroblob(9999999)))",
        "its table 'tracer'",
    ),
    "a missing table": ("drop table arc", "its table 'arc' is missing"),
    "another schema version": ("update coverage_schema set version = 8", "schema version 8"),
    "two schema versions": ("insert into coverage_schema values (7)", "schema version 7, 7"),
    "another database": ("drop table coverage_schema", "not one of coverage.py's"),
    "enormous line numbers": ("update line_bits set numbits = zeroblob(2000000)", "line numbers beyond"),
    "a huge blob": ("update line_bits set numbits = zeroblob(17000000)", "line numbers beyond"),
    "lines that are text": ("update line_bits set numbits = 'abc'", "wrong type"),
    "lines of no file": ("update line_bits set file_id = 99 where file_id = 1", "without a file or context"),
    "lines of no context": ("update line_bits set context_id = 99", "without a file or context"),
    "NUL in a path": ("update file set path = 'a' || char(0) || '.py' where id = 1", "control characters"),
    "a newline in a path": (
        "update file set path = 'a' || char(10) || '.py' where id = 1",
        "control characters",
    ),
    "a path that leads upwards": (
        "update file set path = 'pkg/../../etc/passwd' where id = 1",
        "contains control characters or '..'",
    ),
    "a path that is a blob": ("update file set path = x'00ff' where id = 1", "a path is a blob"),
    "a path that is not Unicode": (
        "update file set path = cast(x'ff' as text) where id = 1",
        "SQLite can't read it",
    ),
    "an endless path": (
        "update file set path = printf('%.*c', 5000, 'a') where id = 1",
        "isn't a valid path",
    ),
    "a context that is a blob": ("update context set context = x'00'", "context isn't text"),
    "NUL in a context": ("update context set context = 'a' || char(0) || 'b'", "context isn't text"),
    "a tracer that is no name": ("insert into tracer values (1, '<script>')", "file tracer"),
    "a tracer of no file": ("insert into tracer values (99, 'a.B')", "file tracer without a file"),
    "branch data that claims to be lines": (
        "insert into arc values (1, 1, 1, 2)",
        "than it declares",
    ),
    "lines that claim to be branch data": (
        "update meta set value = '1' where key = 'has_arcs'",
        "than it declares",
    ),
    "no word on its kind": ("delete from meta", "than it declares"),
    "a strange word on its kind": ("update meta set value = 'x' where key = 'has_arcs'", "clearly"),
    "an index that contradicts its table": (
        """pragma writable_schema = on;
        update sqlite_master set rootpage = (
            select rootpage from sqlite_master where name = 'sqlite_autoindex_context_1'
        ) where name = 'sqlite_autoindex_file_1'""",
        "its pages are damaged",
    ),
    "a write-ahead log": ("pragma journal_mode = wal", "write-ahead log"),
}
"""What somebody may have written into a database, and what must be said of it."""
