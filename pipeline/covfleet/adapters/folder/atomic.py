"""Write files atomically: under another name, then rename them.

Nothing is flushed to the disk on purpose: the ledger's checksums find what a power failure damages.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path


def new_name() -> str:
    """Return a random name that no other process uses."""
    return secrets.token_hex(16)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file in ``path``'s folder; on success rename it to ``path``.

    If the block raises an exception, ``path`` stays unchanged and the temporary file is removed.
    """
    part = path.with_name(f".{new_name()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
