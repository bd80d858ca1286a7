"""The cache of reports: the bundles that earlier reports left, and the one that this report leaves.

Entries that this report used or made come first, then those that reports before it used. A bundle is replaced
as a whole: of two reports at once, the last one's stays, and what the other found is found again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from covfleet.report.cache.file import Bundle, pack_entry, write_bundle

_UNUSED = 5  # reports after which an entry is forgotten
_MOST_BYTES = 256 << 20


class Reported(Protocol):
    """What a report leaves of a source."""

    @property
    def keys(self) -> Sequence[str]:
        """The keys of all entries that belong to the source as it is."""

    @property
    def entries(self) -> Sequence[tuple[str, bytes]]:
        """New entries, packed, with their keys."""


class ReportCache:
    """What was found in the cache, and what it shall hold.

    Attributes:
        bundles: that were found; the first one counts first.
        made: entries that this report has made of sources, by key.
    """

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        self.bundles = tuple(bundles)
        self._used: dict[str, None] = {}
        self.made: dict[str, bytes] = {}
        self._aside: dict[str, bytes] = {}  # entries of no source

    def look_up(self, key: str) -> bytes | None:
        """Return what an earlier report has put aside under a key."""
        found = (bundle.content(key) for bundle in self.bundles)
        content = next((content for content in found if content is not None), None)
        if content is not None:
            self._used[key] = None
        return content

    def aside(self, prefix: str) -> Iterator[bytes]:
        """Yield all that earlier reports have put aside under keys that begin so."""
        keys = {key: None for bundle in self.bundles for key in bundle.places if key.startswith(prefix)}
        found = (bundle.content(key) for key in keys for bundle in self.bundles)
        yield from (content for content in found if content is not None)

    def put(self, key: str, content: bytes) -> None:
        """Put something aside that belongs to no source, for the reports that look it up by its key."""
        self._aside[key] = pack_entry(key, content)

    def note(self, made: Iterable[Reported]) -> None:
        """Take over what belongs to the sources of a report."""
        for one in made:
            self._used |= dict.fromkeys(one.keys)
            self.made |= dict(one.entries)

    @property
    def is_news(self) -> bool:
        """Whether there is anything that the first bundle doesn't hold."""
        held = self.bundles[0].places if self.bundles else {}
        return bool(self.made or self._aside or self._used.keys() - held.keys())

    def write(self, path: Path) -> None:
        """Write the new bundle to ``path``. Raises ``OSError``."""
        write_bundle(path, self._chosen())

    def _chosen(self) -> list[tuple[str, int, bytes]]:
        """Return the entries to keep; of too many, those that were used last, and of these the small ones."""
        chosen = {key: (0, entry) for key, entry in (self.made | self._aside).items()}
        for bundle in self.bundles:
            for key, place in bundle.places.items():
                unused = 0 if key in self._used else place.unused + 1
                entry = bundle.entry(key) if key not in chosen and unused <= _UNUSED else None
                if entry is not None:
                    chosen[key] = unused, entry
        kept, left = [], _MOST_BYTES
        for key, (unused, entry) in sorted(chosen.items(), key=_last_used_and_small):
            left -= len(entry)
            if left >= 0:
                kept.append((key, unused, entry))
        return kept


def _last_used_and_small(chosen: tuple[str, tuple[int, bytes]]) -> tuple[int, int, str]:
    key, (unused, entry) = chosen
    return unused, len(entry), key
