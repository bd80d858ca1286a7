"""Assemble the reports from their sources' fragments with coverage.py's own reporters."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import coverage.html
from coverage import Coverage
from coverage.html import FileToReport, HtmlReporter
from coverage.jsonreport import JsonReporter
from coverage.lcovreport import LcovReporter
from coverage.plugin import FileReporter
from coverage.report import SummaryReporter
from coverage.xmlreport import XmlReporter

from covfleet.report.onepass import sharing
from covfleet.report.onepass.fragments import Fragment
from covfleet.report.onepass.pages import PageStyle, WrittenPage

Relink = Callable[[dict[int, tuple[str, str]]], dict[int, WrittenPage]]
"""Changes the links of pages, by the number of their fragment, to two other pages; returns the new pages."""

_JSON_MARK = re.compile(r'"\\u0000(\d+)"')
_XML_MARK = re.compile(r'\t*<line number="@(\d+)" hits="\d"/>\n')


def write_text(cov: Coverage, fragments: Sequence[Fragment], path: Path) -> None:
    """Write the table of ``coverage report``."""
    with path.open("w", encoding="utf-8") as file:
        SummaryReporter(_made(cov, fragments)).report(None, outfile=file)


def write_lcov(cov: Coverage, fragments: Sequence[Fragment], path: Path) -> None:
    """Write ``coverage.lcov``."""
    with path.open("w", encoding="utf-8") as file:
        _Lcov(_made(cov, fragments)).report(None, outfile=file)


def write_json(cov: Coverage, fragments: Sequence[Fragment], path: Path) -> None:
    """Write ``coverage.json``: coverage.py's, with each source's part in place of its mark."""
    outline = io.StringIO()
    _Json(_made(cov, fragments)).report(None, outfile=outline)
    text, end = outline.getvalue(), 0
    with path.open("w", encoding="utf-8") as file:
        for mark in _JSON_MARK.finditer(text):
            file.write(text[end : mark.start()])
            file.writelines(fragments[int(mark[1])].json_parts)
            end = mark.end()
        file.write(text[end:])


def write_xml(cov: Coverage, fragments: Sequence[Fragment], path: Path) -> None:
    """Write ``coverage.xml``: coverage.py's, with each source's lines in place of one with a mark."""
    outline = io.StringIO()
    XmlReporter(_made(cov, fragments, all_contexts=True)).report(None, outfile=outline)
    text = _XML_MARK.sub(lambda mark: fragments[int(mark[1])].xml_lines, outline.getvalue())
    path.write_text(text, encoding="utf-8")


def _made(cov: Coverage, fragments: Sequence[Fragment], *, all_contexts: bool = False) -> Any:
    return _Made(cov, fragments, all_contexts=all_contexts)


class _Made:
    """The part of ``Coverage`` that reporters use, with analyses from the fragments."""

    def __init__(self, cov: Coverage, fragments: Sequence[Fragment], *, all_contexts: bool = False) -> None:
        self.config = cov.config.copy()
        # Already filtered, by the names that coverage.py had then.
        self.config.report_include = self.config.report_omit = None
        self.get_data = cov.get_data
        self._message = cov._message
        self._warn = cov._warn
        self._analyses = [
            _Analysis(number, fragment, all_contexts=all_contexts)
            for number, fragment in enumerate(fragments)
        ]

    def _get_file_reporters(self, _morfs: None) -> list[tuple[_Source, _Analysis]]:
        return [(_Source(analysis), analysis) for analysis in self._analyses]

    def _analyze(self, analysis: _Analysis, **_: object) -> _Analysis:
        return analysis


class _Source(FileReporter):
    """The source of a fragment, with only its names."""

    def __init__(self, analysis: _Analysis) -> None:
        super().__init__(analysis.fragment.filename)
        self._fragment = analysis.fragment

    def relative_filename(self) -> str:
        return self._fragment.relative_name

    def code_region_kinds(self) -> tuple[tuple[str, str], ...]:
        return self._fragment.page.kinds


class _Analysis:
    """The part of an analysis that the reporters use if the sources' parts exist already."""

    def __init__(self, number: int, fragment: Fragment, *, all_contexts: bool) -> None:
        self.number = number
        self.fragment = fragment
        self.numbers = fragment.all_numbers if all_contexts else fragment.numbers
        self.statements = _Counted(self.numbers.n_statements, f"@{number}")
        self.missing = _Counted(self.numbers.n_missing, "")

    @property
    def written(self) -> WrittenPage:
        page = self.fragment.page.written
        assert page, "the HTML report needs a page that its settings skip"
        return page

    def missing_formatted(self, **_: bool) -> str:
        return self.fragment.missing

    def branch_stats(self) -> dict[int, tuple[int, int]]:
        return {0: self.fragment.xml_branches}

    def missing_branch_arcs(self) -> dict[int, list[int]]:
        return {}


class _Counted:
    """A number of lines of which only one is visible."""

    def __init__(self, count: int, shown: str) -> None:
        self._count = count
        self._shown = shown

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return iter([self._shown] if self._count else [])


class _Lcov(LcovReporter):
    def lcov_file(self, _name: str, _source: FileReporter, analysis: Any, outfile: IO[str]) -> None:
        outfile.write(analysis.fragment.lcov)


class _Json(JsonReporter):
    def report_one_file(self, _data: object, analysis: Any, _source: FileReporter) -> Any:
        self.total += analysis.numbers
        return f"\0{analysis.number}"  # no other string in the report contains a NUL


def _write_html(path: str, html: str) -> None:
    Path(path).write_bytes(sharing.normal_html(html))


class HtmlAssembly(HtmlReporter):
    """coverage.py's HTML report around pages that exist already."""

    def prepare(self) -> PageStyle:
        """Write the static files for the pages; return their names and the report's time."""
        self.make_directory()
        self.make_local_static_report_files()
        statics: Any = self.template_globals["statics"]
        return PageStyle(dict(statics), str(self.template_globals["time_stamp"]))

    def write(self, cov: Coverage, fragments: Sequence[Fragment], relink: Relink) -> None:
        """Write the indexes, and correct the links of pages whose expected neighbours were left out."""
        made: Any = _Made(cov, fragments)
        self.coverage, self.data = made, cov.get_data()
        self._relink = relink
        self._linked: list[tuple[FileToReport, _Analysis]] = []
        with sharing.replaced(coverage.html, "write_html", _write_html):
            self.report(None)

    def write_html_page(self, ftr: FileToReport) -> None:
        """Record the links that the existing page should have."""
        analysis: Any = ftr.analysis
        self._linked.append((ftr, analysis))
        self.index_pages["file"].summaries.append(analysis.written.info.index)

    def write_file_index_page(self, first_html: str, final_html: str) -> None:
        """Write the index of files, and coverage.py's records of them."""
        written = {analysis.number: analysis.written for _, analysis in self._linked}
        links = {analysis.number: (ftr.prev_html, ftr.next_html) for ftr, analysis in self._linked}
        unexpected = {number: pair for number, pair in links.items() if written[number].links != pair}
        written |= self._relink(unexpected)
        for ftr, analysis in self._linked:
            self.incr.files[ftr.rootname] = written[analysis.number].info
        super().write_file_index_page(first_html, final_html)

    def write_region_index_pages(self, files_to_report: Iterable[FileToReport]) -> None:
        """Write the indexes of functions and classes."""
        for ftr in files_to_report:
            analysis: Any = ftr.analysis
            for noun, part in analysis.fragment.page.indexes.items():
                if noun == "file":
                    continue  # already counted
                whole = self.index_pages[noun]
                whole.summaries += part.summaries
                whole.totals += part.totals
                whole.skipped_covered_count += part.skipped_covered_count
                whole.skipped_empty_count += part.skipped_empty_count
        for noun, index_page in self.index_pages.items():
            if noun != "file":
                self.write_index_page(index_page)
