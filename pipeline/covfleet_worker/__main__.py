"""The worker's entry point in the application's interpreter: ``python covfleet_worker OUTPUT_FOLDER``."""

from __future__ import annotations

import importlib.util
import os
import sys

NAME = "_covfleet_worker"
"""Our package's name in the application's interpreter, distinct from any ``covfleet_worker`` it may have."""


def load(folder: str) -> None:
    """Load a folder as the package ``NAME`` without adding its parent to ``sys.path``.

    If covfleet is installed there, the parent contains covfleet's dependencies, which the application must
    not see.
    """
    spec = importlib.util.spec_from_file_location(
        NAME, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    # Python put our folder first, where its modules would shadow others of the same names.
    load(os.path.abspath(sys.path.pop(0)))
    session = importlib.import_module(f"{NAME}.session")
    sys.path.insert(0, os.getcwd())  # as ``python -m pytest`` does
    sys.exit(session.main(sys.argv[1]))
