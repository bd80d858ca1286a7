"""Merging sound data files into one that coverage.py can't tell from its own.

Nothing is decided here: which files are sound and which paths belong to the project was settled before. The
name of a file means nothing (``coverage combine`` skips files by the hash in it), nor does their order.
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

    The same files in any order, any number of times, give the same data. ``out`` is replaced atomically; the
    inputs are only read.

    Args:
        files: verified data files, all of branch data or all of statement data; none gives an empty result.
        out: the combined data file.
        own: the project's path for each measured path; what isn't in it is left out.

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
    # Only now: importing coverage.py takes longer than merging a small project's data.
    from coverage.exceptions import CoverageException  # noqa: PLC0415

    from covfleet.combine.stock import merge_by_api  # noqa: PLC0415

    try:
        merge_by_api(files, out, own)
    except CoverageException as error:
        raise IncompleteDataError(f"the data files can't be merged: {error}") from error
