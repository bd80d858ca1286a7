"""Write all reports of a build to one folder, of which readers see the old or the new state."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from covfleet.errors import ConfigurationError
from covfleet.model import Ledger, TestOutcome, Totals
from covfleet.report.cache.contents import ReportCache
from covfleet.report.own.badge import badge
from covfleet.report.own.junit import write_junit
from covfleet.report.own.summary import summarise, to_markdown
from covfleet.report.own.verdicts import mark
from covfleet.report.rendering import Rendering, render
from covfleet.store.encoding import to_json

REPORTS = frozenset({
    "badge.svg",
    "coverage.json",
    "coverage.lcov",
    "coverage.txt",
    "coverage.xml",
    "html",
    "junit.xml",
    "summary.json",
    "summary.md",
})  # fmt: skip
"""The contents of a folder of reports; a folder with anything else in it is never replaced."""


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """The input of the reports."""

    data_file: Path  # one combined coverage.py data file; its paths are relative to the project
    source_dir: Path  # exactly the project's listed sources, and its coverage configuration
    ledger: Ledger
    outcomes: tuple[TestOutcome, ...]
    out: Path
    contexts: bool  # show which tests ran each line
    title: str = ""  # of the HTML report, if the project's configuration sets none
    notes: tuple[str, ...] = ()  # in addition to the ledger's
    cache: ReportCache | None = None
    settings: str = ""  # coverage.py's, as the plan has them; empty: from the file in ``source_dir``


def write_reports(request: ReportRequest) -> Totals:
    """Write every report to ``request.out``, replacing existing reports, and return the totals.

    Everything is first written beside ``out``: if anything fails, the old reports stay. Changes the process's
    working directory while coverage.py renders (see ``rendering.render``).

    Raises:
        ConfigurationError: ``out`` contains other files than reports, or coverage.py's configuration is
            wrong.
        IncompleteDataError: a source is missing or can't be parsed, or there is nothing to report.
    """
    out = request.out.resolve()
    _check_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        fresh, scratch = Path(temporary, "fresh"), Path(temporary, "scratch")
        fresh.mkdir()
        scratch.mkdir()
        totals = _write(request, fresh, scratch)
        _swap(fresh, out, Path(temporary, "old"))
    return totals


def _write(request: ReportRequest, folder: Path, scratch: Path) -> Totals:
    ledger = request.ledger
    rendered = render(
        Rendering(
            data_file=request.data_file.resolve(),
            source_dir=request.source_dir.resolve(),
            into=folder,
            scratch=scratch,
            contexts=request.contexts,
            title=request.title,
            verdict=ledger.verdict,
            cache=request.cache,
            settings=request.settings,
        )
    )
    totals = rendered.totals
    if ledger.verdict != "complete":
        mark(folder, ledger.verdict)
    notes = (*request.notes, *rendered.warnings, rendered.proof.note)
    summary = summarise(ledger, totals, request.outcomes, rendered.files, notes)
    (folder / "summary.json").write_bytes(to_json(summary))
    (folder / "summary.md").write_text(to_markdown(summary), encoding="utf-8")
    (folder / "badge.svg").write_text(badge(totals, ledger.verdict), encoding="utf-8")
    write_junit(request.outcomes, folder / "junit.xml")
    return totals


def _check_replaceable(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigurationError(f"{out} is a file; the reports need a folder")
    foreign = sorted({path.name for path in out.iterdir()} - REPORTS) if out.exists() else []
    if foreign:
        raise ConfigurationError(
            f"{out} contains {foreign[0]!r}, which isn't a report: the reports would replace it",
            hint="Name a new folder, an empty one, or one with earlier reports.",
        )


def _swap(fresh: Path, out: Path, old: Path) -> None:
    if out.exists():
        out.rename(old)
    try:
        fresh.rename(out)
    except OSError:
        if old.exists():
            shutil.move(old, out)
        raise
