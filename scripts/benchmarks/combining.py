"""What ``scripts/bench combine`` measures of covfleet, as a process of its own.

    python -m benchmarks.combining merge|verified|all-checked FOLDER OUT

``merge`` does what ``coverage combine --keep`` does. ``verified`` compares every data file with its manifest
before that, as ``covfleet combine`` does with what its shards have checked; ``all-checked`` also reads every
page and row beforehand, as it does with files of which no shard says so.
"""

from __future__ import annotations

import sys
from pathlib import Path

from covfleet.combine.merge import merge

MANIFEST = "manifest.json"


class Everything(dict[str, str]):
    """Every path is the project's own, under its own name, as for stock ``coverage combine``."""

    def __contains__(self, path: object) -> bool:
        return True

    def __missing__(self, path: str) -> str:
        return path

    def get(self, path: str, _default: object = None) -> str:  # noqa: D102
        return path


def main() -> None:
    how, folder, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if how != "merge":
        _verify(folder, checked=how == "verified")
    merge(sorted(folder.glob(".coverage.*")), out, own=Everything())


def _verify(folder: Path, *, checked: bool) -> None:
    # Not above: stock doesn't load any of it either.
    import json  # noqa: PLC0415

    from covfleet.combine.contents import CheckedData  # noqa: PLC0415
    from covfleet.combine.verify import LocalData, check, check_each  # noqa: PLC0415
    from covfleet.model import DataFile  # noqa: PLC0415

    told = [DataFile(**file, checked=checked) for file in json.loads((folder / MANIFEST).read_text("utf-8"))]
    for data in check_each(check, [LocalData(folder / file.name, file.name, file) for file in told]):
        if not isinstance(data, CheckedData):
            sys.exit(f"{data.subject}: {data.detail}")


if __name__ == "__main__":
    main()
