"""Look up the entries of earlier reports by key, and use them only if nothing can differ."""

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
"""A key and its content in a bundle."""


@dataclass(frozen=True, slots=True)
class Known:
    """A source that may have been reported before, and where the cache keeps what was made of it."""

    source: SharedSource
    fragment_key: str
    facts_key: str

    @property
    def keys(self) -> tuple[str, str]:
        """Both keys: a report that uses a source's fragment must keep its facts for the next time, too."""
        return self.fragment_key, self.facts_key


class Memory:
    """The cache as one process of a report sees it. It writes nothing: what is new, it hands over."""

    def __init__(self, cov: Coverage, style: PageStyle, json: JsonText, bundles: Sequence[Bundle]) -> None:
        self._cov = cov
        self._json = json
        self._bundles = bundles
        self._keys = Keys(cov, style.statics)

    def look_up(self, name: str) -> Known | None:
        """Return a source's keys in the cache; ``None`` if it can't be read or a plugin reads it.

        A plugin's results may depend on anything, so they aren't cached.
        """
        source = self._cov._get_file_reporter(name)
        if not isinstance(source, SharedSource):
            return None
        try:
            content = Path(source.filename).read_bytes()
        except OSError:
            return None  # coverage.py decides how to handle that
        filename = self._cov._file_mapper(source.filename)
        if self._cov.get_data().file_tracer(filename):
            return None
        order = self._json.order(filename)
        key = self._keys.of_fragment(content, source.relative_filename(), filename, order)
        return Known(source, key, self._keys.of_facts(content))

    def fragment(self, known: Known) -> KeptFragment | None:
        """Return the source's fragment, if everything that it depends on is the same."""
        found = (entries.from_entry(content) for content in self._contents(known.fragment_key))
        return next((kept for kept in found if kept), None)

    def facts(self, known: Known) -> Facts | None:
        """Return the result of parsing the source, if content and rules are the same."""
        found = (facts.from_entry(content) for content in self._contents(known.facts_key))
        return next((kept for kept in found if kept), None)

    def _contents(self, key: str) -> Iterator[bytes]:
        for bundle in self._bundles:
            if (content := bundle.content(key)) is not None:
                yield content


def new_entries(known: Known, kept: KeptFragment | None, learned: Facts | None) -> tuple[Entry, ...]:
    """Return the new entries for the cache, except those that it can't store."""
    found: list[Entry] = []
    with contextlib.suppress(ValueError):  # a text can't be encoded: its entry isn't cached
        if kept:
            found.append((known.fragment_key, pack_entry(known.fragment_key, entries.to_entry(kept))))
        if learned:
            found.append((known.facts_key, pack_entry(known.facts_key, facts.to_entry(learned))))
    return tuple(found)
