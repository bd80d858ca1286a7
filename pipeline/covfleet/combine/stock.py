"""Merge with coverage.py's public API: slower than ``union``, but it supports every version of the schema."""

from __future__ import annotations

import contextlib
import inspect
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from coverage import CoverageData

_OUTSIDE = "outside the project/"  # never a measured path: paths mapped to it are left out
_READ_ONLY: dict[str, Any] = (
    {"read_only": True} if "read_only" in inspect.signature(CoverageData).parameters else {}
)


def merge_by_api(files: Sequence[Path], out: Path, own: Mapping[str, str]) -> None:
    """Write the union of the data files to ``out``, which must not exist.

    Raises:
        CoverageException: the files contradict each other, or one isn't a data file.
    """
    _drop(out, _union(files, out, own))


@contextlib.contextmanager
def opened(path: Path, **options: Any) -> Iterator[CoverageData]:
    """Open a data file with the public API, and close all its connections at the end."""
    data = CoverageData(str(path), **options)
    try:
        yield data
    finally:
        data.close(force=True)


def _union(files: Sequence[Path], out: Path, own: Mapping[str, str]) -> set[str]:
    """Merge the files; return the paths in the result that stand for everything outside the project."""
    left_out: set[str] = set()
    with opened(out) as merged:
        for file in files:
            with opened(file, **_READ_ONLY) as data:
                data.read()
                # Declared in advance, as update() doesn't declare it for files without rows.
                if data.has_arcs():
                    merged.add_arcs({})
                elif _rows(file, "select 1 from meta where key = 'has_arcs'"):
                    merged.add_lines({})
                places = _places(data, own)
                merged.update(data, map_path=places.__getitem__)
            left_out.update(place for place in places.values() if place.startswith(_OUTSIDE))
        if not merged.has_arcs():
            merged.add_lines({})
    return left_out


def _places(data: CoverageData, own: Mapping[str, str]) -> dict[str, str]:
    """Return the target of each measured path; paths outside share one target per file tracer.

    coverage.py refuses two tracers for one path.
    """
    paths = data.measured_files()
    places = {path: own[path] for path in paths if path in own}
    if len(places) < len(paths):
        query = "select path, tracer from tracer join file on file.id = file_id"
        tracers = dict(_rows(Path(data.data_filename()), query))
        places |= {path: f"{_OUTSIDE}{tracers.get(path, '')}" for path in paths - places.keys()}
    return places


def _rows(data_file: Path, query: str) -> list[Any]:
    """Query what the public API doesn't offer: whether the kind of data is known, and all tracers at once."""
    connection = sqlite3.connect(f"{data_file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    with contextlib.closing(connection):
        return connection.execute(query).fetchall()


def _drop(path: Path, left_out: set[str]) -> None:
    """Delete files with their data: the public API can empty a file, but not remove it."""
    if not left_out:
        return
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for place in sorted(left_out):
            (file_id,) = connection.execute("select id from file where path = ?", (place,)).fetchone()
            for table in ("line_bits", "arc", "tracer"):
                connection.execute(f"delete from {table} where file_id = ?", (file_id,))  # noqa: S608
            connection.execute("delete from file where id = ?", (file_id,))
