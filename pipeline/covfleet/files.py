"""Files shipped with the package, and the SHA-256 of files."""

from __future__ import annotations

import hashlib
from pathlib import Path


def resource(name: str) -> Path:
    """Return the path of ``templates/…`` or ``docker/…``, in the checkout or in the installed package.

    Raises:
        FileNotFoundError: the file is missing, as the installation is damaged.
    """
    here = Path(__file__).parent
    for root in (here / "_data", here.parent.parent):
        if (root / name).exists():
            return root / name
    raise FileNotFoundError(f"covfleet's own file {name} is missing: reinstall covfleet")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex digits, reading it in chunks. Raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
