"""Create an empty data file like coverage.py's, without importing coverage.py.

That import costs more CPU than all the rest of merging a small project's data. The text is coverage.py's own
(Apache License 2.0), for schema version 7; a test compares the created file with coverage.py's.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from covfleet.store.soundness import SCHEMA_VERSION

_SCHEMA = """\
CREATE TABLE coverage_schema (
    -- One row, to record the version of the schema in this db.
    version integer
);

CREATE TABLE meta (
    -- Key-value pairs, to record metadata about the data
    key text,
    value text,
    unique (key)
    -- Possible keys:
    --  'has_arcs' boolean      -- Is this data recording branches?
    --  'sys_argv' text         -- The coverage command line that recorded the data.
    --  'version' text          -- The version of coverage.py that made the file.
    --  'when' text             -- Datetime when the file was created.
    --  'hash' text             -- Hash of the data.
);

CREATE TABLE file (
    -- A row per file measured.
    id integer primary key,
    path text,
    unique (path)
);

CREATE TABLE context (
    -- A row per context measured.
    id integer primary key,
    context text,
    unique (context)
);

CREATE TABLE line_bits (
    -- If recording lines, a row per context per file executed.
    -- All of the line numbers for that file/context are in one numbits.
    file_id integer,            -- foreign key to `file`.
    context_id integer,         -- foreign key to `context`.
    numbits blob,               -- see the numbits functions in coverage.numbits
    foreign key (file_id) references file (id),
    foreign key (context_id) references context (id),
    unique (file_id, context_id)
);

CREATE TABLE arc (
    -- If recording branches, a row per context per from/to line transition executed.
    file_id integer,            -- foreign key to `file`.
    context_id integer,         -- foreign key to `context`.
    fromno integer,             -- line number jumped from.
    tono integer,               -- line number jumped to.
    foreign key (file_id) references file (id),
    foreign key (context_id) references context (id),
    unique (file_id, context_id, fromno, tono)
);

CREATE TABLE tracer (
    -- A row per file indicating the tracer used for that file.
    file_id integer primary key,
    tracer text,
    foreign key (file_id) references file (id)
);
"""


def create(path: Path) -> None:
    """Create an empty data file at ``path``.

    Raises:
        sqlite3.Error: there already is a data file, or it can't be written.
    """
    address = path.resolve().as_uri()
    with contextlib.closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
        # No journal: after a failure everything starts anew.
        connection.executescript("pragma journal_mode = off; pragma synchronous = off;" + _SCHEMA)
        connection.execute("insert into coverage_schema (version) values (?)", (SCHEMA_VERSION,))
