"""Where the application's interpreter begins: ``python covfleet_worker OUTPUT_FOLDER``."""

from __future__ import annotations

import importlib.util
import os
import sys

NAME = "_covfleet_worker"
"""Our package's name in the application's interpreter, whose own ``covfleet_worker`` stays its own."""


def load(folder: str) -> None:
    """Make a folder the package ``NAME``, without a place on ``sys.path``: its neighbours stay unknown.

    Where covfleet is installed they are covfleet's own dependencies, which the application must not get.
    """
    spec = importlib.util.spec_from_file_location(
        NAME, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    # Python has put our folder first, where its modules would pass for those of other people.
    load(os.path.abspath(sys.path.pop(0)))
    session = importlib.import_module(f"{NAME}.session")
    sys.path.insert(0, os.getcwd())  # as ``python -m pytest`` has it
    sys.exit(session.main(sys.argv[1]))
