"""Verify one data file before anything is merged: it must be whole, coverage.py's own, and meaningful.

coverage.py skips a damaged input with a warning and exit status 0, and reads whatever SQL objects a file
contains. So every data file must pass here first: as bytes (this module), then as a database that is sound
(``covfleet.store.soundness``) and has valid contents (``contents``).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from covfleet.combine.contents import CheckedData, read_contents
from covfleet.files import sha256_of
from covfleet.model import DataFile, Problem
from covfleet.store.parallel import for_each
from covfleet.store.soundness import Defect, check_rows, check_schema, guard

T = TypeVar("T")

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_SMALL_BYTES = 1024 * 1024  # a data file of this size is checked in about a millisecond
_OTHER_FORMATS = {
    b"\x1f\x8b": "gzip-compressed data",
    b"\x28\xb5\x2f\xfd": "zstd-compressed data",
    b"BZh": "bzip2-compressed data",
    b"\xfd7zXZ": "xz-compressed data",
    b"PK": "a zip archive",
    b"<": "HTML or XML",
    b"{": "JSON",
    b"!coverage.py": "data of coverage.py 4",
}


@dataclass(frozen=True, slots=True)
class LocalData:
    """A downloaded data file and its description in the result, or ``None`` without one."""

    path: Path
    name: str  # in the store
    expected: DataFile | None = None


def check(data: LocalData) -> CheckedData | Problem:
    """Return the contents of the data file, or its first fault.

    The file is only read, never changed, and nothing in it is executed. Its pages and rows aren't read again
    if its result says that the shard has ``checked`` them: the SHA-256 proves that these are the same bytes.

    Raises:
        OSError: the file can't be read from this machine's disk.
    """
    try:
        _check_bytes(data)
        with _opened(data.path) as connection:
            check_schema(connection)
            if data.expected is None or not data.expected.checked:
                check_rows(connection)
            return read_contents(connection, data.path, data.name)
    except Defect as defect:
        return Problem("corrupt", data.name, str(defect))
    except (sqlite3.Error, UnicodeDecodeError, OverflowError) as error:
        return Problem("corrupt", data.name, f"SQLite can't read it: {error}")


def check_each(action: Callable[[LocalData], T], files: Sequence[LocalData]) -> list[T]:
    """Return the result of ``action`` for each data file, in their order.

    SQLite, zstd and SHA-256 run without the interpreter's lock, so large files are checked in parallel. With
    small ones, threads would mostly wait for that lock and take twice the CPU time.
    """
    sizes = [data.expected.size_bytes if data.expected else data.path.stat().st_size for data in files]
    if sum(sizes) < len(files) * _SMALL_BYTES:
        return [action(data) for data in files]
    return for_each(action, files, workers=os.cpu_count() or 1)


def data_file(path: Path, name: str) -> DataFile:
    """Describe a local file as the data file ``name``, with its size and SHA-256."""
    return DataFile(name=name, size_bytes=path.stat().st_size, sha256=sha256_of(path))


def _check_bytes(data: LocalData) -> None:
    size = data.path.stat().st_size
    with data.path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if data.expected is not None and size != data.expected.size_bytes:
        raise Defect(f"has {size} bytes instead of {data.expected.size_bytes}{_looks_like(header)}")
    if data.expected is not None and sha256_of(data.path) != data.expected.sha256:
        raise Defect(f"its SHA-256 differs from its result's{_looks_like(header)}")
    if not size:
        raise Defect("is empty")
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
        raise Defect(f"isn't a coverage data file{_looks_like(header)}")
    _check_header(header, size)


def _check_header(header: bytes, size: int) -> None:
    """Check the fields of https://www.sqlite.org/fileformat.html#the_database_header that matter here."""
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    whole = page * int.from_bytes(header[28:32], "big")
    if size != whole:
        raise Defect(f"is torn: it has {size} bytes, but its own header says {whole}")
    if header[18:20] != b"\x01\x01":
        raise Defect("needs a write-ahead log beside it, which coverage.py never writes")
    if int.from_bytes(header[56:60], "big") not in (0, 1):
        raise Defect("isn't encoded in UTF-8")


def _looks_like(header: bytes) -> str:
    for start, what in _OTHER_FORMATS.items():
        if header.lstrip().startswith(start):
            return f": it looks like {what}"
    return ""


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a possibly hostile database, read-only and guarded.

    ``immutable`` keeps SQLite from looking for journals beside the file and from rolling one back.
    """
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    with contextlib.closing(connection):
        guard(connection, path.stat().st_size)
        yield connection
