"""Compare two data files row by row, ignoring the ids of their rows."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

# Every row by its meaning, not by its id; the order is the same in both files.
_ROWS = (
    "select value from meta where key = 'has_arcs'",
    "select path from file order by path",
    "select context from context order by context",
    "select path, tracer from tracer join file on file.id = file_id order by path",
    """select path, context, numbits from line_bits join file on file.id = file_id
    join context on context.id = context_id order by path, context""",
    """select path, context, fromno, tono from arc join file on file.id = file_id
    join context on context.id = context_id order by path, context, fromno, tono""",
)


def same_data(one: Path, other: Path) -> bool:
    """Return whether two sound data files contain the same files, contexts, lines, arcs and file tracers.

    Raises:
        sqlite3.Error: one isn't a data file.
    """
    with _opened(one) as first, _opened(other) as second:
        return all(
            mine == theirs
            for query in _ROWS
            for mine, theirs in zip_longest(first.execute(query), second.execute(query))
        )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    connection: Any = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    with contextlib.closing(connection):
        yield connection
