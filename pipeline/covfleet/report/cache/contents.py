"""The cache of reports: the bundles that earlier reports left, and the one that this report leaves.

Entries that this report used or created come first, then those that earlier reports used. A bundle is
replaced as a whole: if two reports write at once, the last one wins, and the other's entries are created
again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from covfleet.report.cache.file import Bundle, pack_entry, write_bundle

_UNUSED = 5  # reports after which an entry is forgotten
_MOST_BYTES = 256 << 20


class Reported(Protocol):
    """The data that a report leaves for a source."""

    @property
    def keys(self) -> Sequence[str]:
        """The keys of all entries for the present source."""

    @property
    def entries(self) -> Sequence[tuple[str, bytes]]:
        """New entries, packed, with their keys."""


class ReportCache:
    """The entries found in the cache, and those to keep in it.

    Attributes:
        bundles: the bundles found; the first one takes precedence.
        made: entries that this report has created for sources, by key.
    """

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        self.bundles = tuple(bundles)
        self._used: dict[str, None] = {}
        self.made: dict[str, bytes] = {}
        self._aside: dict[str, bytes] = {}  # entries of no source

    def look_up(self, key: str) -> bytes | None:
        """Return the content that an earlier report put aside under a key."""
        found = (bundle.content(key) for bundle in self.bundles)
        content = next((content for content in found if content is not None), None)
        if content is not None:
            self._used[key] = None
        return content

    def aside(self, prefix: str) -> Iterator[bytes]:
        """Yield everything that earlier reports put aside under keys with this prefix."""
        keys = {key: None for bundle in self.bundles for key in bundle.places if key.startswith(prefix)}
        found = (bundle.content(key) for key in keys for bundle in self.bundles)
        yield from (content for content in found if content is not None)

    def put(self, key: str, content: bytes) -> None:
        """Put aside content that belongs to no source, for reports that look it up by its key."""
        self._aside[key] = pack_entry(key, content)

    def note(self, made: Iterable[Reported]) -> None:
        """Record the keys and entries of a report's sources."""
        for one in made:
            self._used |= dict.fromkeys(one.keys)
            self.made |= dict(one.entries)

    @property
    def is_news(self) -> bool:
        """Whether there is anything that isn't in the first bundle."""
        held = self.bundles[0].places if self.bundles else {}
        return bool(self.made or self._aside or self._used.keys() - held.keys())

    def write(self, path: Path) -> None:
        """Write the new bundle to ``path``. Raises ``OSError``."""
        write_bundle(path, self._chosen())

    def _chosen(self) -> list[tuple[str, int, bytes]]:
        """Return the entries to keep; if there are too many, prefer recently used and then small ones."""
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
