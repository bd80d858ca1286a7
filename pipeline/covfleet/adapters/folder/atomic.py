"""Files that appear whole or not at all: written under another name, then renamed.

Nothing is flushed to the disk on purpose: what a power failure damages, the ledger's checksums find.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path


def new_name() -> str:
    """Return a name that no other process makes."""
    return secrets.token_hex(16)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a file to write, in ``path``'s folder; on success it becomes ``path``.

    If the block raises, ``path`` stays as it was and what was written goes.
    """
    part = path.with_name(f".{new_name()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
