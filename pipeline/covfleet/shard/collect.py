"""Collect the data files of a worker, and name them for the store.

Tested code can write to the worker's folder, so nothing in it is trusted: only regular files count, links are
never followed, and a file is moved out of the folder before it is hashed.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import socket
import sqlite3
import string
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from covfleet.model import DataFile
from covfleet.store.soundness import is_sound

_PID = re.compile(r"\.(?:pid)?(\d+)\.X\w+x")
_FINISHED = re.compile(r"\.H\w{10}h$")
_SETTLED_S = 1.0
_LETTERS = string.ascii_letters + string.digits


def travelling_name(original: str, content: bytes) -> str:
    """Return a name in coverage.py's form: ``.coverage.<host>.pid<pid>.X<random>x.H<hash>h``.

    The hash is that of the content, so stock ``coverage combine``, which skips files with the same hash,
    skips only true duplicates.
    """
    pid = _PID.search(original)
    host = re.sub(r"[^0-9A-Za-z_-]", "_", socket.gethostname())[:60] or "host"
    random = "".join(secrets.choice(_LETTERS) for _ in range(6))
    digest = base64.b64encode(hashlib.sha256(content).digest(), altchars=b"01").decode()[:10]
    return f".coverage.{host}.pid{pid.group(1) if pid else 0}.X{random}x.H{digest}h"


def is_whole(path: Path) -> bool:
    """Return whether SQLite finds the file intact: a killed process may have left half a transaction."""
    try:
        with closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        ) as connection:
            (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            (tables,) = connection.execute(
                "SELECT count(*) FROM sqlite_master WHERE name IN ('file', 'meta', 'line_bits', 'arc')"
            ).fetchone()
            (versions,) = connection.execute("SELECT count(version) FROM coverage_schema").fetchone()
            return bool(verdict == "ok" and (tables, versions) == (4, 1))
    except sqlite3.Error:
        return False


class DataFileCollector:
    """Collects the data files of the batch that a worker is running: moves them to ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._output_dir = folder
        self._folder = folder
        self._collected: list[tuple[Path, DataFile]] = []

    def watch(self, output_dir: Path) -> None:
        """Collect from this folder from now on, as a new worker writes there."""
        self._output_dir = output_dir
        self._folder.mkdir(parents=True, exist_ok=True)

    @property
    def has_files(self) -> bool:
        """Whether any collected files haven't been taken yet."""
        return bool(self._collected)

    def collect_handed_over(self) -> None:
        """Collect the files that the worker has handed over and those that its subprocesses finished."""
        for path in _regular_files(self._output_dir / "done"):
            self._collect(path)
        _wait_until_settled(self._output_dir)
        for path in _regular_files(self._output_dir):
            if path.name.startswith(".coverage.") and _is_finished(path) and is_whole(path):
                self._collect(path)

    def collect_left_behind(self) -> bool:
        """Collect the files that a dead worker and its subprocesses left; return whether all are intact."""
        self.collect_handed_over()
        all_sound = True
        for path in _regular_files(self._output_dir):
            if path.name.startswith(".coverage."):
                if is_whole(path):
                    self._collect(path)
                else:
                    all_sound = False
                    path.rename(self._folder / f"damaged-{path.name}")
        return all_sound

    def _collect(self, path: Path) -> None:
        moved = path.rename(self._folder / f"{secrets.token_hex(8)}")
        content = moved.read_bytes()
        name = travelling_name(path.name, content)
        sha256 = hashlib.sha256(content).hexdigest()
        # Unsound files are delivered, too: the combiner reports their faults.
        data_file = DataFile(name, len(content), sha256, checked=is_sound(content))
        self._collected.append((moved, data_file))

    def take(self) -> tuple[tuple[Path, DataFile], ...]:
        """Return the files collected since the last call, with their descriptions for the store."""
        collected, self._collected = tuple(self._collected), []
        return collected


def _is_finished(path: Path) -> bool:
    """Return whether no live subprocess can still be writing the file.

    coverage.py puts the hash into the name when it has finished; versions before 7.14 don't, but write a
    subprocess's file only while it exits.
    """
    return bool(_FINISHED.search(path.name)) or time.time() - path.stat().st_mtime > _SETTLED_S


def _wait_until_settled(folder: Path) -> None:
    """Wait until the files of subprocesses that have just ended count as finished."""
    deadline = time.monotonic() + 2 * _SETTLED_S
    while time.monotonic() < deadline and not all(
        _is_finished(path) for path in _regular_files(folder) if path.name.startswith(".coverage.")
    ):
        time.sleep(_SETTLED_S / 10)


def _regular_files(folder: Path) -> Iterator[Path]:
    if not folder.is_symlink() and folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if not path.is_symlink() and path.is_file())
