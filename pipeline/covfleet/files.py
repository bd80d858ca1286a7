"""Files: those that travel with the package, and what names a file's content wherever it lies."""

from __future__ import annotations

import hashlib
from pathlib import Path


def resource(name: str) -> Path:
    """Return the path of ``templates/…`` or ``docker/…``, in the checkout or in the installed package.

    Raises:
        FileNotFoundError: the installation is damaged.
    """
    here = Path(__file__).parent
    for root in (here / "_data", here.parent.parent):
        if (root / name).exists():
            return root / name
    raise FileNotFoundError(f"covfleet's own file {name} is missing: install it again")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex digits, reading it piece by piece. Raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
