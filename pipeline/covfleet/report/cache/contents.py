"""The cache of reports: the bundles that earlier reports left, and the one that this report leaves.

Entries that this report used or made come first, then those that reports before it used. A bundle is replaced
as a whole: of two reports at once, the last one's stays, and what the other found is found again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from covfleet.report.cache.file import Bundle, write_bundle
from covfleet.report.onepass.fragments import Made

_UNUSED = 5  # reports after which an entry is forgotten
_MOST_BYTES = 256 << 20


class ReportCache:
    """What was found in the cache, and what it shall hold.

    Attributes:
        bundles: that were found; the first one counts first.
        made: entries that this report has made, by key.
    """

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        self.bundles = tuple(bundles)
        self._used: dict[str, None] = {}
        self.made: dict[str, bytes] = {}

    def note(self, made: Iterable[Made]) -> None:
        """Take over what belongs to the sources of a report."""
        for one in made:
            self._used |= dict.fromkeys(one.keys)
            self.made |= dict(one.entries)

    @property
    def is_news(self) -> bool:
        """Whether there is anything that the first bundle doesn't hold."""
        held = self.bundles[0].places if self.bundles else {}
        return bool(self.made or self._used.keys() - held.keys())

    def write(self, path: Path) -> None:
        """Write the new bundle to ``path``. Raises ``OSError``."""
        write_bundle(path, self._chosen())

    def _chosen(self) -> list[tuple[str, int, bytes]]:
        """Return the entries to keep; of too many, those that were used last."""
        chosen = {key: (0, entry) for key, entry in self.made.items()}
        for bundle in self.bundles:
            for key, place in bundle.places.items():
                unused = 0 if key in self._used else place.unused + 1
                entry = bundle.entry(key) if key not in chosen and unused <= _UNUSED else None
                if entry is not None:
                    chosen[key] = unused, entry
        kept, left = [], _MOST_BYTES
        for key, (unused, entry) in sorted(chosen.items(), key=lambda item: (item[1][0], item[0])):
            left -= len(entry)
            if left >= 0:
                kept.append((key, unused, entry))
        return kept
