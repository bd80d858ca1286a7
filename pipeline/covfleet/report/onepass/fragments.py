"""Everything that the reports say about one source, from one analysis, written by coverage.py's reporters."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

from coverage import Coverage, CoverageData
from coverage.lcovreport import LcovReporter
from coverage.plugin import FileReporter
from coverage.report_core import get_analysis_to_report
from coverage.results import Analysis, Numbers, analysis_from_file_reporter

from covfleet.report.cache.entries import KeptFragment
from covfleet.report.cache.file import Bundle
from covfleet.report.cache.lookup import Entry, Known, Memory, new_entries
from covfleet.report.onepass import sharing
from covfleet.report.onepass.json_text import JsonText
from covfleet.report.onepass.pages import Page, PageReporter, PageStyle, WrittenPage
from covfleet.report.onepass.parsed_source import Facts
from covfleet.report.stock import messages


@dataclass(frozen=True, slots=True)
class Fragment:
    """The parts of all formats for one source."""

    filename: str  # as in coverage.py's reporter of the source
    relative_name: str
    numbers: Numbers
    missing: str  # the last column of the text table
    page: Page
    json_parts: tuple[str, ...]  # to be joined; contexts are one string, however often they occur
    all_numbers: Numbers  # of XML and LCOV, which report all contexts regardless of [report] contexts
    xml_branches: tuple[int, int]  # all, taken
    xml_lines: str
    lcov: str


@dataclass(frozen=True, slots=True)
class Made:
    """A source's fragment and warnings; no fragment after an error that the project ignores."""

    fragment: Fragment | None
    warnings: tuple[str, ...]
    keys: tuple[str, ...] = ()  # of the cache entries for the present source
    entries: tuple[Entry, ...] = ()  # new entries for the cache


class FragmentMaker:
    """Creates fragments of one data file's sources; works only under ``sharing.shared_work``.

    Args:
        cov: coverage.py with the data loaded.
        style: the style of the pages.
        bundles: the bundles with fragments of earlier reports; ``None``: use and keep none.
        known: the argument of ``shared_work``; it contains the current source's facts if they are cached.
    """

    def __init__(
        self, cov: Coverage, style: PageStyle, bundles: Sequence[Bundle] | None, known: dict[str, Facts]
    ) -> None:
        self._cov = cov
        self._data: CoverageData = cov.get_data()
        self._rows = sharing.SharedRows(self._data, ordered=cov.config.json_show_contexts)
        self._json, self._lcov = JsonText(cov), LcovReporter(cov)
        self._pages = PageReporter(cov, style)
        self._memory = None if bundles is None else Memory(cov, style, self._json, bundles)
        self._facts = known

    def make(self, name: str, links: tuple[str, str]) -> Made:
        """Return a source's fragment, and write its page with links to two others.

        Raises:
            CoverageException: the source is missing or can't be parsed, and the project doesn't ignore that.
                A plugin may raise anything.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._data.set_query_contexts(self._cov.config.report_contexts)
            self._rows.forget()
            known = self._memory.look_up(name) if self._memory else None
            if self._memory and known:
                if kept := self._memory.fragment(known):
                    return self._again(known, kept, links)
                if found := self._memory.facts(known):
                    self._facts[known.source.filename] = found
            made = self._anew(name, links, known)
            self._facts.clear()
        remarks = messages(caught)
        return replace(made, warnings=remarks, entries=() if remarks else made.entries)

    def _again(self, known: Known, kept: KeptFragment, links: tuple[str, str]) -> Made:
        """Return the fragment of an earlier report, and write its page."""
        source = known.source
        page, entries = None, tuple[Entry, ...]()
        if kept.page:
            page = self._pages.again(source, kept.page, links)
            if page.info.hash != kept.page.hash:
                moved = replace(kept, page=replace(kept.page, links=links, hash=page.info.hash))
                entries = new_entries(known, moved, None)
        filename = self._cov._file_mapper(source.filename)
        fragment = _fragment(source, kept, page, self._json.parts(kept.json, filename))
        return Made(fragment, (), known.keys, entries)

    def _anew(self, name: str, links: tuple[str, str], known: Known | None) -> Made:
        # Errors and warnings are coverage.py's own. A name has one source or none.
        for source, analysis in get_analysis_to_report(self._cov, [name]):
            kept, fragment = self._fragment(source, analysis, links)
            if known is None or not isinstance(source, sharing.SharedSource):
                return Made(fragment, ())
            return Made(fragment, (), known.keys, new_entries(known, kept, source.learned()))
        return Made(None, ())

    def relink(self, name: str, page: WrittenPage, links: tuple[str, str]) -> WrittenPage:
        """Change the links of an existing page to two other pages."""
        self._data.set_query_contexts(self._cov.config.report_contexts)
        self._rows.forget()
        return self._pages.relink(page, self._cov._get_file_reporter(name), links)

    def _fragment(
        self, source: FileReporter, analysis: Analysis, links: tuple[str, str]
    ) -> tuple[KeptFragment, Fragment]:
        page, text = self._pages.page(source, analysis, links)
        shows_missing = self._cov.config.show_missing
        missing = analysis.missing_formatted(branches=True) if shows_missing else ""
        json = self._json.with_marks(source, analysis)
        json_parts = self._json.parts(json, analysis.filename)
        everything = self._of_all_contexts(source, analysis)
        lcov = io.StringIO()
        self._lcov.lcov_file(source.relative_filename(), source, everything, lcov)
        branches = everything.branch_stats().values()
        kept = KeptFragment(
            numbers=analysis.numbers,
            missing=missing,
            indexes=page.indexes,
            kinds=page.kinds,
            json=json,
            all_numbers=everything.numbers,
            xml_branches=(sum(total for total, _ in branches), sum(taken for _, taken in branches)),
            xml_lines=xml_lines(everything),
            lcov=lcov.getvalue(),
            page=text,
        )
        return kept, _fragment(source, kept, page.written, json_parts)

    def _of_all_contexts(self, source: FileReporter, analysis: Analysis) -> Analysis:
        if not self._cov.config.report_contexts:
            return analysis
        self._data.set_query_contexts(None)
        self._rows.forget()
        filename = self._cov._file_mapper(source.filename)
        return analysis_from_file_reporter(self._data, self._cov.config.precision, source, filename)


def _fragment(
    source: FileReporter, kept: KeptFragment, page: WrittenPage | None, json_parts: tuple[str, ...]
) -> Fragment:
    return Fragment(
        filename=source.filename,
        relative_name=source.relative_filename(),
        numbers=kept.numbers,
        missing=kept.missing,
        page=Page(kept.indexes, kept.kinds, page),
        json_parts=json_parts,
        all_numbers=kept.all_numbers,
        xml_branches=kept.xml_branches,
        xml_lines=kept.xml_lines,
        lcov=kept.lcov,
    )


def xml_lines(analysis: Analysis) -> str:
    """Return the ``line`` elements of a source, as ``XmlReporter.xml_file`` and minidom write them."""
    if analysis.has_arcs:
        stats, missing_arcs = analysis.branch_stats(), analysis.missing_branch_arcs()
    else:
        stats, missing_arcs = {}, {}
    missing = analysis.missing
    lines = []
    for line in sorted(analysis.statements):
        branch = ""
        if line in stats:
            total, taken = stats[line]
            branch = f' branch="true" condition-coverage="{100 * taken // total}% ({taken}/{total})"'
        if line in missing_arcs:
            targets = ",".join("exit" if target < 0 else str(target) for target in missing_arcs[line])
            branch += f' missing-branches="{targets}"'
        lines.append(f'\t\t\t\t\t\t<line number="{line}" hits="{int(line not in missing)}"{branch}/>\n')
    return "".join(lines)
