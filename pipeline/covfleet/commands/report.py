"""``covfleet report``: write every report format to ``.covfleet/reports`` and to the store."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from covfleet.byhand.folder import report_folder
from covfleet.commands.common import figures, options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session
from covfleet.model import Ledger, Totals
from covfleet.report.own.terminal import print_summary
from covfleet.report.stage import ReportFolders, report_build


@options.command(
    "report",
    "commit",
    "build",
    "as_json",
    examples=(
        ("covfleet report", "The newest build of this folder's commit."),
        (
            "covfleet report --commit $SHA --build $BUILD_NUMBER",
            "Any combined build, on any machine.",
        ),
        ("covfleet report --json", "Write the reports, and print totals and verdict for programs."),
    ),
)
def command(call: Call) -> None:
    """Write text, HTML, XML (Cobertura), JSON, LCOV, JUnit, a Markdown summary and a badge.

    The reports replace the folder .covfleet/reports and are stored with the build.
    """
    session = Session(call)
    out = session.own_folder() / "reports"
    with session.workdir() as workdir:
        totals, ledger = _report(session, workdir, out)
    if call.as_json:
        click.echo(figures.to_text(totals, ledger))
    else:
        print_summary(Console(), out)


def _report(session: Session, workdir: Path, out: Path) -> tuple[Totals, Ledger]:
    workers, cache = session.settings.s3.connections, session.own_folder() / "cache"
    if build := session.find_build():
        places = ReportFolders(workdir, out, cache)
        return report_build(build, places, workers=workers, narrate=session.narrate)
    return report_folder(
        session.commit(),
        session.checkout,
        ReportFolders(workdir, out, cache),
        contexts=session.settings.contexts,
        workers=workers,
        narrate=session.narrate,
    )
