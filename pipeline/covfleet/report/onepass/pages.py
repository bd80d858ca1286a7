"""The HTML page of one source as coverage.py writes it, and the source's part of the index pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import coverage.html
from coverage import Coverage
from coverage.data import add_data_to_hash
from coverage.html import FileInfo, FileToReport, HtmlReporter, IncrementalChecker, IndexPage
from coverage.misc import Hasher
from coverage.plugin import FileReporter
from coverage.results import Analysis
from coverage.templite import Templite

from covfleet.report.cache.entries import PageText
from covfleet.report.onepass import sharing

_PREVIOUS, _NEXT = (
    "\0previous\0",
    "\0next\0",
)  # placeholders for the names of other pages; no name contains a NUL


@dataclass(frozen=True, slots=True)
class PageStyle:
    """The data that all pages of one report share."""

    statics: dict[str, str]  # the names of style sheets, scripts and pictures
    created_at: str


@dataclass(frozen=True, slots=True)
class Page:
    """A source in the HTML report."""

    indexes: dict[str, IndexPage]  # by kind of region, with only this source in them
    kinds: tuple[tuple[str, str], ...]  # of regions, singular and plural
    written: WrittenPage | None  # None if the report leaves the source out


@dataclass(frozen=True, slots=True)
class WrittenPage:
    """A page in the folder of the report."""

    path: str
    info: FileInfo  # for coverage.py's status.json
    links: tuple[str, str]  # to the page before and the page after it
    offsets: tuple[int, ...]  # of these links in the file: before, after, and again


class PageReporter(HtmlReporter):
    """coverage.py's HTML report for one source at a time, without an index."""

    def __init__(self, cov: Coverage, style: PageStyle) -> None:
        super().__init__(cov)
        globals_: dict[str, Any] = self.template_globals
        globals_.update(statics=style.statics, time_stamp=style.created_at)
        self.source_tmpl = sharing.PlainTemplate(self.pyfile_html_source, self.template_globals)
        self.incr = _AlwaysNew(self.directory)
        self._link = Templite(
            "{{ link|escape }}" if "prev_html|escape" in self.pyfile_html_source else "{{ link }}",
            self.template_globals,
        )
        self._has_links_in_hash = "ftr" in IncrementalChecker.can_skip_file.__code__.co_varnames
        self._html = ""

    def page(
        self, source: FileReporter, analysis: Analysis, links: tuple[str, str]
    ) -> tuple[Page, PageText | None]:
        """Write a source's page if the report includes it; return the page and its text for the cache."""
        self.index_pages = {"file": self.new_index_page("file", "files")}
        to_report = FileToReport(source, analysis)
        kinds: tuple[tuple[str, str], ...] = ()
        text = None
        if self.should_report(analysis, self.index_pages["file"]):
            text = self._text(to_report, links)
            kinds = tuple(source.code_region_kinds())
            for noun, plural in kinds:
                self.index_pages[noun] = self.new_index_page(noun, plural)
            self.write_region_index_pages([to_report])
        written = self._written(to_report, text, links) if text else None
        return Page(self.index_pages, kinds, written), text

    def again(self, source: FileReporter, text: PageText, links: tuple[str, str]) -> WrittenPage:
        """Write a page of an earlier report with links to two other pages."""
        if text.links != links and self._has_links_in_hash:
            text = replace(text, links=links, hash=self._hash(source, links))
        return self._written(FileToReport(source, None), text, links)  # type: ignore[arg-type]

    def relink(self, page: WrittenPage, source: FileReporter, links: tuple[str, str]) -> WrittenPage:
        """Change the links of a written page to two other pages."""
        path = Path(page.path)
        content = path.read_bytes()
        old = 2 * self._encoded(page.links)
        begins = (0, *(offset + len(link) for offset, link in zip(page.offsets, old, strict=True)))
        ends = (*page.offsets, len(content))
        parts = [content[begin:end] for begin, end in zip(begins, ends, strict=True)]
        offsets = self._join(path, parts, links)
        info = replace(page.info, hash=self._hash(source, links))
        return replace(page, info=info, links=links, offsets=offsets)

    def write_index_page(self, index_page: IndexPage, **kwargs: str) -> str:  # noqa: ARG002
        """Write nothing: the index covers all sources."""
        return ""

    def _text(self, to_report: FileToReport, links: tuple[str, str]) -> PageText:
        to_report.prev_html, to_report.next_html = _PREVIOUS, _NEXT
        with sharing.replaced(coverage.html, "write_html", self._take):
            self.write_html_page(to_report)
        content = sharing.normal_html(self._html)
        parts = tuple(
            part for half in content.split(_PREVIOUS.encode()) for part in half.split(_NEXT.encode())
        )
        index = self.incr.files.pop(to_report.rootname).index
        return PageText(parts, links, self._hash(to_report.fr, links), index)

    def _written(self, to_report: FileToReport, text: PageText, links: tuple[str, str]) -> WrittenPage:
        path = Path(self.directory, to_report.html_filename)
        offsets = self._join(path, text.parts, links)
        return WrittenPage(str(path), FileInfo(text.hash, text.index), links, offsets)

    def _take(self, _path: str, html: str) -> None:
        self._html = html

    def _join(self, path: Path, parts: Sequence[bytes], links: tuple[str, str]) -> tuple[int, ...]:
        """Write a page from its parts and the links between them; return the offsets of the links."""
        offsets, pieces, length = [], [parts[0]], len(parts[0])
        for link, part in zip(2 * self._encoded(links), parts[1:], strict=True):
            offsets.append(length)
            pieces += [link, part]
            length += len(link) + len(part)
        path.write_bytes(b"".join(pieces))
        return tuple(offsets)

    def _encoded(self, links: tuple[str, str]) -> tuple[bytes, bytes]:
        first, second = (
            self._link.render({"link": link}).encode("ascii", "xmlcharrefreplace") for link in links
        )
        return first, second

    def _hash(self, source: FileReporter, links: tuple[str, str]) -> str:
        """Return the hash in status.json by which coverage.py recognises an unchanged page."""
        hasher = Hasher()
        hasher.update(source.source().encode("utf-8"))
        add_data_to_hash(self.data, source.filename, hasher)
        if self._has_links_in_hash:
            for link in links:
                hasher.update(link)
        return hasher.hexdigest()


class _AlwaysNew(IncrementalChecker):
    """Knows no page of an earlier report."""

    def can_skip_file(self, *_: object) -> bool:
        return False
