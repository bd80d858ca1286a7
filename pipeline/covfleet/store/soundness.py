"""Check that a data file is sound: coverage.py's own tables, consistent pages, rows within their bounds.

The file is read as untrusted SQL. A shard checks a file before it records its SHA-256 in the result; the
combiner checks the files that no shard did. The tables are those of
https://coverage.readthedocs.io/en/latest/dbschema.html, version 7, which coverage.py 7.10.6 to 7.17 write.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

SCHEMA_VERSION = 7
LARGEST_LINE = 10_000_000  # no source file has more lines; a data file that claims so is damaged or hostile

_TABLES = {
    "coverage_schema": ("version",),
    "meta": ("key", "value"),
    "file": ("id", "path"),
    "context": ("id", "context"),
    "line_bits": ("file_id", "context_id", "numbits"),
    "arc": ("file_id", "context_id", "fromno", "tono"),
    "tracer": ("file_id", "tracer"),
}
_KNOWN_TABLES: set[tuple[str, str]] = set()  # (name, definition) of tables with checked columns

_LARGEST_VALUE = 16 * 1024 * 1024  # bytes of one text or blob; beyond it SQLite refuses to read
_STEPS_AT_LEAST = 20_000_000  # of SQLite's virtual machine: a few seconds
_STEPS_PER_BYTE = 200  # a sound file needs about 20
_STEPS_BETWEEN_LOOKS = 100_000

# Both return one value for the first bad row: true if only its line numbers are out of bounds.
_BAD_LINES = """
    select length(numbits) > ?1 from line_bits not indexed
    where typeof(numbits) != 'blob' or length(numbits) > ?1
    or file_id not in (select id from file) or context_id not in (select id from context) limit 1"""
_BAD_ARCS = """
    select typeof(fromno) = 'integer' and typeof(tono) = 'integer' from arc
    where typeof(fromno) != 'integer' or typeof(tono) != 'integer'
    or fromno not between -?1 and ?1 or tono not between -?1 and ?1
    or file_id not in (select id from file) or context_id not in (select id from context) limit 1"""


class Defect(Exception):  # noqa: N818 - it never reaches a user: it becomes a Problem
    """A data file is not sound; the message says why."""


def is_sound(content: bytes) -> bool:
    """Return whether these bytes are a data file in which every page and row is sound.

    They are read in memory, so that no process that still has the file open can change them during the check.
    If SQLite was built without that feature, the result is always false.
    """
    if not content or not hasattr(sqlite3.Connection, "deserialize"):
        return False
    try:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(content)
            guard(connection, len(content))
            check_schema(connection)
            check_rows(connection)
    except (Defect, sqlite3.Error, UnicodeDecodeError, OverflowError):
        return False
    return True


def guard(connection: sqlite3.Connection, size_bytes: int) -> None:
    """Limit the cost of reading a database of this size, however hostile it is."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)
    connection.execute("pragma trusted_schema = off")
    connection.execute("pragma cell_size_check = on")
    connection.execute("pragma cache_size = -16384")  # holds most files entirely: index lookups are random
    steps = _STEPS_AT_LEAST + _STEPS_PER_BYTE * size_bytes
    looks = iter(range(steps // _STEPS_BETWEEN_LOOKS))
    connection.set_progress_handler(lambda: next(looks, None) is None, _STEPS_BETWEEN_LOOKS)


def check_schema(connection: sqlite3.Connection) -> None:
    """Reject anything but coverage.py's own tables.

    Raises:
        Defect: the schema version differs, or there are views, triggers, virtual tables, additional tables or
            indexes, or generated columns.
    """
    tables = dict.fromkeys(_TABLES, "")
    for kind, name, root, sql in connection.execute("select type, name, rootpage, sql from sqlite_master"):
        if kind == "index" and sql is None:
            continue  # SQLite's own, for a unique constraint
        if kind != "table" or name not in tables or not root:
            raise Defect(f"contains the {kind} {str(name)[:80]!r}, which isn't coverage.py's")
        tables[name] = str(sql)
    if not tables["coverage_schema"]:
        raise Defect("is an SQLite database, but not one of coverage.py's")
    versions = connection.execute("select version from coverage_schema limit 2").fetchall()
    if versions != [(SCHEMA_VERSION,)]:
        found = ", ".join(str(version)[:20] for (version,) in versions) or "none"
        raise Defect(f"has schema version {found}; covfleet reads version {SCHEMA_VERSION}")
    for name, wanted in _TABLES.items():
        if (name, tables[name]) in _KNOWN_TABLES:
            continue
        columns = connection.execute(f"pragma table_xinfo({name})").fetchall()
        if tuple(column[1] for column in columns if not column[6]) != wanted or len(columns) != len(wanted):
            raise Defect(f"its table {name!r} is missing or has different columns from coverage.py's")
        _KNOWN_TABLES.add((name, tables[name]))


def check_rows(connection: sqlite3.Connection) -> None:
    """Read every page and every row.

    Raises:
        Defect: pages are damaged or inconsistent, such as an index with its table; a value has the wrong type
            or is out of bounds; or a row refers to a missing one.
    """
    verdict = connection.execute("pragma integrity_check(1)").fetchone()[0]
    if verdict != "ok":
        raise Defect(f"its pages are damaged: {verdict}")

    def first(query: str, *bound: int) -> int | None:
        row = connection.execute(query, bound).fetchone()
        return None if row is None else int(row[0])

    for kind, bad, bound in (("lines", _BAD_LINES, LARGEST_LINE // 8 + 1), ("arcs", _BAD_ARCS, LARGEST_LINE)):
        only_far = first(bad, bound)
        if only_far:
            raise Defect(f"has line numbers beyond {LARGEST_LINE}")
        if only_far is not None:
            raise Defect(f"has {kind} without a file or context, or of the wrong type")
