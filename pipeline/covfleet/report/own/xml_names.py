"""Files that coverage.py's XML report would give one name, and what keeps it from that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


def ambiguous(paths: Iterable[str], sources: Iterable[str]) -> tuple[str, ...]:
    """Return the files that would share a name in the XML report, sorted.

    coverage.py names a file as seen from the entry of ``source`` that contains it. Of two files of one name
    it reports the totals of both, and the lines of one.
    """
    prefixes = [source.rstrip("/") + "/" for source in sources]
    files = defaultdict(set)
    for path in paths:
        files[path].add(path)
        for prefix in prefixes:
            if path.startswith(prefix):
                files[path.removeprefix(prefix)].add(path)
    return tuple(sorted({path for those in files.values() if len(those) > 1 for path in those}))
