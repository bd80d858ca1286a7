"""Small file systems of a test's own: full after a few KiB, or read-only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.needs import missing


@contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[None]:
    """Mount an empty file system on ``folder``, with ``options`` as in ``mount -o``."""
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        missing("the right to mount", "run the tests as root")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
