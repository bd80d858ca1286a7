"""What earlier reports left of sources: found by key, and taken only where nothing can differ."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from coverage import Coverage

from covfleet.report.cache import entries
from covfleet.report.cache.entries import KeptFragment
from covfleet.report.cache.file import Bundle, pack_entry
from covfleet.report.cache.keys import Keys
from covfleet.report.onepass import parsed_source as facts
from covfleet.report.onepass.json_text import JsonText
from covfleet.report.onepass.pages import PageStyle
from covfleet.report.onepass.parsed_source import Facts
from covfleet.report.onepass.sharing import SharedSource

Entry = tuple[str, bytes]
"""A key, and what a bundle holds under it."""


@dataclass(frozen=True, slots=True)
class Known:
    """A source that may have been reported before, and where the cache keeps what was made of it."""

    source: SharedSource
    fragment_key: str
    facts_key: str

    @property
    def keys(self) -> tuple[str, str]:
        """Both keys: whoever uses a source's fragment wants to find its facts next time, too."""
        return self.fragment_key, self.facts_key


class Memory:
    """The cache as one process of a report sees it. It writes nothing: what is new, it hands over."""

    def __init__(self, cov: Coverage, style: PageStyle, json: JsonText, bundles: Sequence[Bundle]) -> None:
        self._cov = cov
        self._json = json
        self._bundles = bundles
        self._keys = Keys(cov, style.statics)

    def look_up(self, name: str) -> Known | None:
        """Return where a source is kept; ``None`` if it can't be read, or a plugin reads it.

        A plugin's answers may depend on anything, so nothing of them is kept.
        """
        source = self._cov._get_file_reporter(name)
        if not isinstance(source, SharedSource):
            return None
        try:
            content = Path(source.filename).read_bytes()
        except OSError:
            return None  # coverage.py says what that means
        filename = self._cov._file_mapper(source.filename)
        if self._cov.get_data().file_tracer(filename):
            return None
        order = self._json.order(filename)
        key = self._keys.of_fragment(content, source.relative_filename(), filename, order)
        return Known(source, key, self._keys.of_facts(content))

    def fragment(self, known: Known) -> KeptFragment | None:
        """Return what was made of the source, if all that it was made from is the same."""
        found = (entries.from_entry(content) for content in self._contents(known.fragment_key))
        return next((kept for kept in found if kept), None)

    def facts(self, known: Known) -> Facts | None:
        """Return what parsing the source gave, if content and rules are the same."""
        found = (facts.from_entry(content) for content in self._contents(known.facts_key))
        return next((kept for kept in found if kept), None)

    def _contents(self, key: str) -> Iterator[bytes]:
        for bundle in self._bundles:
            if (content := bundle.content(key)) is not None:
                yield content


def new_entries(known: Known, kept: KeptFragment | None, learned: Facts | None) -> tuple[Entry, ...]:
    """Return what the cache should get; nothing of what it can't hold."""
    found: list[Entry] = []
    with contextlib.suppress(ValueError):  # a text that no encoding has: made anew each time, then
        if kept:
            found.append((known.fragment_key, pack_entry(known.fragment_key, entries.to_entry(kept))))
        if learned:
            found.append((known.facts_key, pack_entry(known.facts_key, facts.to_entry(learned))))
    return tuple(found)
