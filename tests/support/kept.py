"""What is expensive to make and always the same: made once, kept for later runs and for other processes.

It lies in ``~/.cache/covfleet-tests`` (``$XDG_CACHE_HOME``), which may be removed whenever no test runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "covfleet-tests"


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process at a time make what has this name; a process that dies holds nothing up."""
    path = ROOT / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kept(name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder of this name. The first process that asks makes it, while the others wait.

    ``make`` gets the path, at which nothing lies. What it leaves when it fails is removed the next time.
    """
    folder = ROOT / name
    complete = folder.with_name(f"{folder.name}.complete")
    with locked(name):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            complete.touch()
    return folder
