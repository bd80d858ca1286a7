"""Compare coverage data files by what they mean: every row by path and context name, or the public API."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from pathlib import Path
from typing import Any

from coverage import CoverageData

_QUERIES = {
    "files": "select path from file order by 1",
    "contexts": "select context from context order by 1",
    "has_arcs": "select value from meta where key = 'has_arcs'",
    "tracers": "select path, tracer from tracer join file on file.id = file_id order by 1",
    "lines": """
        select f.path, c.context, without_trailing_zeros(l.numbits) from line_bits l
        join file f on f.id = l.file_id join context c on c.id = l.context_id order by 1, 2""",
    "arcs": """
        select f.path, c.context, a.fromno, a.tono from arc a
        join file f on f.id = a.file_id join context c on c.id = a.context_id order by 1, 2, 3, 4""",
}


def raw_digest(path: Path) -> dict[str, str]:
    """Return digests that don't depend on row ids, the order of rows, or trailing zero bytes."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    connection.create_function("without_trailing_zeros", 1, lambda blob: blob.rstrip(b"\0"))
    with contextlib.closing(connection):
        return {name: _digest(connection, query) for name, query in _QUERIES.items()}


def api_view(path: Path) -> dict[str, Any]:
    """Return all that coverage.py's public API tells of a data file, as plain values."""
    data = CoverageData(str(path))
    data.read()
    view: dict[str, Any] = {"branch": data.has_arcs(), "contexts": sorted(data.measured_contexts())}
    for file in data.measured_files():
        by_line = data.contexts_by_lineno(file)
        view[file] = (
            data.file_tracer(file),
            sorted(data.lines(file) or []),
            sorted(data.arcs(file) or []),
            {line: sorted(contexts) for line, contexts in by_line.items()},
        )
    data.close(force=True)
    return view


def _digest(connection: sqlite3.Connection, query: str) -> str:
    digest, count = hashlib.blake2b(digest_size=8), 0
    for row in connection.execute(query):
        digest.update(repr(row).encode("utf-8", "surrogatepass"))
        count += 1
    return f"{count}:{digest.hexdigest()}"


def arcs_by_file(path: Path) -> dict[str, set[tuple[int, int]]]:
    """Return the arcs of every file that a data file names."""
    data = CoverageData(str(path))
    data.read()
    return {file: set(data.arcs(file) or ()) for file in data.measured_files()}
