"""What ``scripts/bench combine`` measures of covfleet, as a process of its own.

    python -m benchmarks.combining merge|verified FOLDER OUT

``merge`` does what ``coverage combine --keep`` does; ``verified`` checks every data file against its manifest
before that, as ``covfleet combine`` does.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.combine.merge import merge

MANIFEST = "manifest.json"


class Everything(dict[str, str]):
    """Every path is the project's own, under its own name, as for stock ``coverage combine``."""

    def __contains__(self, path: object) -> bool:
        return True

    def __missing__(self, path: str) -> str:
        return path


def main() -> None:
    how, folder, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if how == "verified":
        _verify(folder)
    merge(sorted(folder.glob(".coverage.*")), out, own=Everything())


def _verify(folder: Path) -> None:
    # Not above: stock doesn't load the model of a build either.
    from pipeline.combine.contents import CheckedData  # noqa: PLC0415
    from pipeline.combine.verify import LocalData, check  # noqa: PLC0415
    from pipeline.model import DataFile  # noqa: PLC0415

    told = [DataFile(**file) for file in json.loads((folder / MANIFEST).read_text("utf-8"))]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for checked in pool.map(check, [LocalData(folder / file.name, file.name, file) for file in told]):
            if not isinstance(checked, CheckedData):
                sys.exit(f"{checked.subject}: {checked.detail}")


if __name__ == "__main__":
    main()
