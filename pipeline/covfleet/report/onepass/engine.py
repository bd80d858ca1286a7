"""All of coverage.py's reports in one pass over the sources.

Each source is parsed once to create its part of every format (``fragments``, ``pages``), on all cores
(``passes``), or its parts are taken from an earlier report (``cache``); then coverage.py's own reporters put
them together (``assembly``). What is used of it is private, and in another version it may be
gone or mean something else: so whoever uses this asks for a proof first (``proof.trial``), imports it only
then, and takes coverage.py's public calls (``stock``) where it fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coverage import Coverage
from coverage.html import FileToReport
from coverage.plugin import FileReporter
from coverage.report_core import get_analysis_to_report
from coverage.results import Numbers

from covfleet.report.cache.contents import ReportCache
from covfleet.report.onepass import assembly
from covfleet.report.onepass.pages import WrittenPage
from covfleet.report.onepass.passes import Links, Setup, Source, open_pass
from covfleet.report.stock import Configured


@dataclass(frozen=True, slots=True)
class Written:
    """The figures of the reports, and coverage.py's warnings."""

    files: tuple[tuple[str, Numbers], ...]  # by relative name
    has_branches: bool
    warnings: tuple[str, ...]


def write_all(
    configured: Configured, into: Path, *, processes: int | None = None, cache: ReportCache | None = None
) -> Written:
    """Write ``coverage.xml|json|lcov|txt`` to ``into``, and HTML to the configured folder.

    Args:
        configured: opens coverage.py, each time anew.
        into: an existing folder.
        processes: the number of processes; by default as many as are worthwhile.
        cache: the cache of earlier reports; this report's entries are added at the end.

    Raises:
        CoverageException: a source is missing or can't be parsed, and the project doesn't ignore that; or
            there is nothing to report.
        PipelineError: a process was killed.
    """
    with configured() as cov:
        sources = sources_of(cov)
        html = assembly.HtmlAssembly(cov)
        style = html.prepare()
        has_branches = cov.get_data().has_arcs()
    setup = Setup(configured, style, cache.bundles if cache else None)
    with open_pass(setup, len(sources), processes) as once:
        made = once.make(sources)
        parts = [
            (source.name, one.fragment) for source, one in zip(sources, made, strict=True) if one.fragment
        ]
        fragments = [fragment for _, fragment in parts]

        def relink(wanted: dict[int, Links]) -> dict[int, WrittenPage]:
            pages = [
                (parts[number][0], page, links)
                for number, links in wanted.items()
                if (page := fragments[number].page.written)
            ]
            return dict(zip(wanted, once.relink(pages), strict=True))

        with configured() as cov:
            html.write(cov, fragments, relink)
    with configured() as cov:
        assembly.write_xml(cov, fragments, into / "coverage.xml")
        assembly.write_json(cov, fragments, into / "coverage.json")
        assembly.write_lcov(cov, fragments, into / "coverage.lcov")
        assembly.write_text(cov, fragments, into / "coverage.txt")
    if cache:
        cache.note(made)
    return Written(
        files=tuple((fragment.relative_name, fragment.numbers) for fragment in fragments),
        has_branches=has_branches,
        warnings=tuple(message for one in made for message in one.warnings),
    )


def sources_of(cov: Coverage) -> list[Source]:
    """Return the sources that coverage.py would report, in its order."""
    listing: Any = _Listing(cov)
    found: list[tuple[FileReporter, Any]] = list(get_analysis_to_report(listing, None))
    pages = [
        "index.html",
        *(FileToReport(reporter, name).html_filename for reporter, name in found),
        "index.html",
    ]
    around = zip(pages, pages[2:], strict=False)
    return [
        Source(name, _size(reporter.filename), links)
        for (reporter, name), links in zip(found, around, strict=True)
    ]


def _size(filename: str) -> int:
    try:
        return Path(filename).stat().st_size
    except OSError:
        return 0  # it may be in an archive or missing: coverage.py decides


class _Listing:
    """The part of ``Coverage`` for choosing the sources, with each source's name in place of its analysis."""

    def __init__(self, cov: Coverage) -> None:
        self.config = cov.config
        self._get_file_reporters = cov._get_file_reporters

    def _analyze(self, name: str, **_: object) -> str:
        return name
