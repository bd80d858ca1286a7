"""Files that travel with the package: templates and Dockerfiles, from the checkout or from the wheel."""

from __future__ import annotations

from pathlib import Path


def resource(name: str) -> Path:
    """Return the path of ``templates/…`` or ``docker/…``.

    Raises:
        FileNotFoundError: the installation is damaged.
    """
    here = Path(__file__).parent
    for root in (here / "_data", here.parent.parent):
        if (root / name).exists():
            return root / name
    raise FileNotFoundError(f"covfleet's own file {name} is missing: install it again")
