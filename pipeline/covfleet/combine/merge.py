"""Merge sound data files into one that coverage.py can't tell from its own.

Nothing is decided here: the callers know which files are sound and which paths belong to the project. Neither
the name of a file (``coverage combine`` skips files by the hash in it) nor their order matters.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from covfleet.combine.union import UnfitError, new_union
from covfleet.errors import IncompleteDataError


def merge(files: Sequence[Path], out: Path, *, own: Mapping[str, str]) -> None:
    """Write the union of the data files to ``out``: lines, arcs, contexts, file tracers, touched files.

    The same files give the same data in any order and with any repetition. ``out`` is replaced atomically;
    the inputs are only read.

    Args:
        files: verified data files, all with branch data or all with statement data; may be empty.
        out: the combined data file.
        own: the project's path for each measured path; other paths are left out.

    Raises:
        IncompleteDataError: the files contradict each other, or one isn't a sound data file after all.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".merging-") as folder:
        directly, by_api = Path(folder, "directly"), Path(folder, "by-api")
        try:
            with new_union(directly) as union:
                union.add(dict.fromkeys(files), own)
            directly.replace(out)
        except (UnfitError, sqlite3.Error):
            _merge_by_api(files, by_api, own)
            by_api.replace(out)


def _merge_by_api(files: Sequence[Path], out: Path, own: Mapping[str, str]) -> None:
    # Imported only here: importing coverage.py takes longer than merging a small project's data.
    from coverage.exceptions import CoverageException  # noqa: PLC0415

    from covfleet.combine.stock import merge_by_api  # noqa: PLC0415

    try:
        merge_by_api(files, out, own)
    except CoverageException as error:
        raise IncompleteDataError(f"the data files can't be merged: {error}") from error
