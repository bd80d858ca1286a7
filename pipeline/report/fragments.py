"""Everything that the reports say about one source, from one analysis, by coverage.py's reporters."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from coverage import Coverage, CoverageData
from coverage.exceptions import CoverageWarning
from coverage.lcovreport import LcovReporter
from coverage.plugin import FileReporter
from coverage.report_core import get_analysis_to_report
from coverage.results import Analysis, Numbers, analysis_from_file_reporter

from pipeline.report import sharing
from pipeline.report.json_text import JsonText
from pipeline.report.pages import Page, PageReporter, PageStyle, WrittenPage


@dataclass(frozen=True, slots=True)
class Fragment:
    """What each format says about one source."""

    filename: str  # as coverage.py's reporter of the source has it
    relative_name: str
    numbers: Numbers
    missing: str  # the last column of the text table
    page: Page
    json_parts: tuple[str, ...]  # to be joined; contexts are one string, however often they occur
    all_numbers: Numbers  # of XML and LCOV, which report all contexts whatever [report] contexts says
    xml_branches: tuple[int, int]  # all, taken
    xml_lines: str
    lcov: str


@dataclass(frozen=True, slots=True)
class Made:
    """A source's fragment, and warnings; no fragment if an error is one that the project ignores."""

    fragment: Fragment | None
    warnings: tuple[str, ...]


class FragmentMaker:
    """Makes fragments of one data file's sources; works only under ``sharing.shared_work``."""

    def __init__(self, cov: Coverage, style: PageStyle) -> None:
        self._cov = cov
        self._data: CoverageData = cov.get_data()
        self._rows = sharing.SharedRows(self._data, ordered=cov.config.json_show_contexts)
        self._json, self._lcov = JsonText(cov), LcovReporter(cov)
        self._pages = PageReporter(cov, style)

    def make(self, name: str, links: tuple[str, str]) -> Made:
        """Return what the reports say about a source, and write its page with links to two others.

        Raises:
            CoverageException: it is missing or can't be parsed, and the project doesn't ignore that. A
                plugin may raise anything.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._data.set_query_contexts(self._cov.config.report_contexts)
            self._rows.forget()
            # Errors and warnings are coverage.py's own. Of one name there is one source, or none.
            found = [self._fragment(*pair, links) for pair in get_analysis_to_report(self._cov, [name])]
        return Made(found[0] if found else None, messages(caught))

    def relink(self, name: str, page: WrittenPage, links: tuple[str, str]) -> WrittenPage:
        """Let a page that was written link to two other pages."""
        self._data.set_query_contexts(self._cov.config.report_contexts)
        self._rows.forget()
        return self._pages.relink(page, self._cov._get_file_reporter(name), links)

    def _fragment(self, source: FileReporter, analysis: Analysis, links: tuple[str, str]) -> Fragment:
        page = self._pages.page(source, analysis, links)
        shows_missing = self._cov.config.show_missing
        missing = analysis.missing_formatted(branches=True) if shows_missing else ""
        json_parts = self._json.parts(self._json.with_marks(source, analysis), analysis.filename)
        everything = self._of_all_contexts(source, analysis)
        lcov = io.StringIO()
        self._lcov.lcov_file(source.relative_filename(), source, everything, lcov)
        branches = everything.branch_stats().values()
        return Fragment(
            filename=source.filename,
            relative_name=source.relative_filename(),
            numbers=analysis.numbers,
            missing=missing,
            page=page,
            json_parts=json_parts,
            all_numbers=everything.numbers,
            xml_branches=(sum(total for total, _ in branches), sum(taken for _, taken in branches)),
            xml_lines=xml_lines(everything),
            lcov=lcov.getvalue(),
        )

    def _of_all_contexts(self, source: FileReporter, analysis: Analysis) -> Analysis:
        if not self._cov.config.report_contexts:
            return analysis
        self._data.set_query_contexts(None)
        self._rows.forget()
        filename = self._cov._file_mapper(source.filename)
        return analysis_from_file_reporter(self._data, self._cov.config.precision, source, filename)


def messages(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """Return warnings for the reader of a report: not the parser's remarks on the project's code."""
    shown = (CoverageWarning, UserWarning)
    return tuple(str(one.message) for one in caught if issubclass(one.category, shown))


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
