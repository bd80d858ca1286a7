"""A union that survives its process: it grows while shards deliver, and records the hashes of its data files.

The records are in the result's database itself, in three tables that are dropped at the end. A data file is
recorded as begun before its rows are written, and as merged afterwards; uniting rows a second time changes
nothing. So whenever a process is killed, the next one can resume from the records.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Mapping, Set
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Self

from covfleet.combine.contents import CheckedData, Paths
from covfleet.combine.schema import create
from covfleet.combine.union import Union, connect
from covfleet.errors import ConfigurationError
from covfleet.store import zstd

_TABLES = """
    begin;
    create table covfleet_build (name text);
    create table covfleet_place (path text primary key, own text) without rowid;
    create table covfleet_merged (sha256 text primary key, data blob) without rowid;
    commit;
"""
_DROP = """
    begin;
    drop table covfleet_build;
    drop table covfleet_place;
    drop table covfleet_merged;
    commit;
"""
_LARGEST_RECORD = 2**31  # bytes; records hold paths, and a project has a hundred thousand at most
_FORMAT = 1  # of the records; a union in another format is started anew
_MOST_FREE = 0.25  # of the pages: beyond it, the space that the records leave is worth reclaiming
_NOTE_PATH = "insert or replace into main.covfleet_place values (?, ?)"
_NOTE_MERGED = "insert or replace into main.covfleet_merged values (?, ?)"

# The data survives a crash of the process or of the machine at any moment.
_DURABILITY = "pragma main.journal_mode = delete; pragma main.synchronous = normal"

OwnPath = str | None
"""The project's path for a measured path; ``None`` if it is outside the project."""

_NONE: Mapping[str, OwnPath] = MappingProxyType({})


class Growing:
    """A build's union, in a separate file until it is finished. Use it as a context manager, which closes it.

    Args:
        file: its file; if an earlier process left one for the same build, it is resumed, otherwise replaced.
        build: the build's name, including its commit.

    Raises:
        ConfigurationError: another process is using the file.
    """

    def __init__(self, file: Path, build: str) -> None:
        self._file = file
        self._lock = _locked(file)
        try:
            self._connection = _opened(file, f"{_FORMAT} {build}")
            self._union = Union(self._connection)
            self._own_paths: dict[str, OwnPath] = dict(self._stored("select path, own from covfleet_place"))
            rows = self._stored("select sha256, data from covfleet_merged")
        except BaseException:
            self._release()
            raise
        self._begun = {sha256 for sha256, _ in rows}
        self._merged = {sha256: _unpacked(data) for sha256, data in rows if data is not None}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close it; recorded data stays for the next process."""
        self._connection.close()
        self._release()

    @property
    def merged(self) -> Mapping[str, CheckedData]:
        """The merged data files by SHA-256, with the ``path`` and ``name`` of their first merge."""
        return MappingProxyType(self._merged)

    @property
    def own_paths(self) -> Mapping[str, OwnPath]:
        """The project's path for each measured path in the merged data files."""
        return MappingProxyType(self._own_paths)

    def grow(self, files: Mapping[str, CheckedData], own: Mapping[str, OwnPath]) -> None:
        """Merge verified data files, given by their SHA-256, and record them.

        Args:
            files: data files that aren't merged yet.
            own: the project's path for each of their paths that isn't in ``own_paths`` yet.

        Raises:
            UnfitError, IncompleteDataError, sqlite3.Error: see ``Union.add``; the union is then unusable.
        """
        self._own_paths |= own
        self._begun |= files.keys()
        self._note(dict.fromkeys(files), own)
        inside = {path: name for path, name in self._own_paths.items() if name is not None}
        self._union.add([data.path for data in files.values()], inside)
        self._note({sha256: _packed(data) for sha256, data in files.items()})
        self._merged |= files

    def is_of(self, hashes: Set[str], own: Mapping[str, str]) -> bool:
        """Return whether it contains exactly these data files, with the paths that ``own`` gives.

        The project's path for a measured path can change while shards deliver: a result brings the folder in
        which its shard had the project.
        """
        return self._begun == self._merged.keys() == hashes and all(
            own.get(path) == name for path, name in self._own_paths.items()
        )

    def copy(self, out: Path) -> None:
        """Write the data merged so far to a new data file."""
        self._connection.execute("vacuum main into ?", (str(out),))

    def finish(self, out: Path) -> None:
        """Turn the union into the data file ``out`` and close it; nothing else is left."""
        self._union.finish()
        self._connection.executescript(_DROP)
        ((free,),), ((all_,),) = self._stored("pragma freelist_count"), self._stored("pragma page_count")
        if free > all_ * _MOST_FREE:
            self._connection.execute("vacuum")
        self._connection.close()
        shutil.move(self._file, out)
        self._release()

    def discard(self) -> None:
        """Close and delete the union."""
        self._connection.close()
        _remove(self._file)
        self._release()

    def _release(self) -> None:
        if not self._lock.closed:
            Path(self._lock.name).unlink(missing_ok=True)
            self._lock.close()

    def _note(self, files: Mapping[str, bytes | None], own: Mapping[str, OwnPath] = _NONE) -> None:
        """Write the lines united in memory, and record files as begun (``None``) or merged."""
        self._connection.execute("begin")
        self._union.write_united()
        self._connection.executemany(_NOTE_PATH, own.items())
        self._connection.executemany(_NOTE_MERGED, files.items())
        self._connection.execute("commit")

    def _stored(self, query: str) -> list[Any]:
        return self._connection.execute(query).fetchall()


def _opened(file: Path, name: str) -> sqlite3.Connection:
    """Open the union that an earlier process left for the build, or a new one."""
    goes_on = _is_called(file, name)
    if not goes_on:
        _remove(file)
        create(file)
    connection = connect(file)
    connection.executescript(_DURABILITY)
    if not goes_on:
        connection.executescript(_TABLES)
        connection.execute("insert into covfleet_build values (?)", (name,))
    return connection


def _locked(file: Path) -> IO[bytes]:
    """Return a lock that only one process can have; it ends with the process."""
    path = file.with_name(f"{file.name}.lock")
    while True:
        lock = path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                return lock
        except BlockingIOError as error:
            lock.close()
            raise _busy(file) from error
        except FileNotFoundError:  # its previous owner has just removed it
            pass
        lock.close()


def _is_called(file: Path, name: str) -> bool:
    """Return whether an earlier process left a sound union of the build."""
    if not file.exists():
        return False
    with contextlib.closing(sqlite3.connect(file)) as connection:
        try:
            named = connection.execute("select name from covfleet_build").fetchall() == [(name,)]
            return named and connection.execute("pragma quick_check(1)").fetchone() == ("ok",)
        except sqlite3.DatabaseError:
            return False


def _busy(file: Path) -> ConfigurationError:
    return ConfigurationError(
        f"another process is combining this build in {file.parent}",
        hint="Wait for it, or combine without --follow, which doesn't need that folder.",
    )


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.with_name(f"{file.name}-journal").unlink(missing_ok=True)


def _packed(data: CheckedData) -> bytes:
    executed = None if data.executed == data.files else list(data.executed)
    fields = [data.name, data.branch, list(data.files), executed, data.contexts, data.tracers]
    return zstd.pack(json.dumps(fields).encode(), level=1)


def _unpacked(packed: bytes) -> CheckedData:
    name, branch, files, executed, contexts, tracers = json.loads(zstd.unpack(packed, _LARGEST_RECORD))
    measured = Paths(map(sys.intern, files))  # shards name the same files: keep each name once
    return CheckedData(
        path=Path(name),  # no longer an existing file
        name=name,
        branch=branch,
        files=measured,
        executed=measured if executed is None else Paths(map(sys.intern, executed)),
        contexts=contexts,
        tracers=tuple((path, tracer) for path, tracer in tracers),
    )
