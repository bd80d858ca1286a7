"""Where covfleet begins: the command ``covfleet``, and ``python -m covfleet``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line with covfleet's own libraries, whatever packages the project has."""
    sys.path[:] = own_first(sys.path, os.environ.get("PYTHONPATH", ""), str(Path.cwd()))
    from covfleet.cli import main as run  # noqa: PLC0415 - its libraries are looked for from now on

    run()


def own_first(path: list[str], pythonpath: str, here: str) -> list[str]:
    """Return ``sys.path`` with the project's folders last.

    ``PYTHONPATH``, and this folder for ``python -m``, are meant for the tests, which get them as they are.
    A project's package ``docker`` or ``rich`` would stand in for the library that covfleet needs. They stay,
    as covfleet itself or a plugin of coverage.py may be found there only.
    """
    theirs = {os.path.abspath(each) for each in pythonpath.split(os.pathsep) if each} | {here}  # noqa: PTH100
    later = [each for each in path if os.path.abspath(each or here) in theirs]  # noqa: PTH100
    return [each for each in path if each not in later] + later


if __name__ == "__main__":
    main()
