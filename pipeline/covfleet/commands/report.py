"""``covfleet report``: every format of the combined data, in ``.covfleet/reports`` and in the store."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from covfleet.commands.combine import combine
from covfleet.commands.common import figures, options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session
from covfleet.model import Ledger, Totals
from covfleet.report.cache.branch import cache_here
from covfleet.report.own.terminal import print_summary
from covfleet.report.stage import Places, report_build
from covfleet.report.write import ReportRequest, write_reports
from covfleet.store.sources import manifest, pack, unpack


@options.command(
    "report",
    "commit",
    "build",
    "as_json",
    examples=(
        ("covfleet report", "The newest build of this folder's commit."),
        (
            "covfleet report --commit $SHA --build $BUILD_NUMBER",
            "Any build that was combined, from any machine.",
        ),
        ("covfleet report --json", "Only totals and verdict, for programs."),
    ),
)
def command(call: Call) -> None:
    """Write text, HTML, XML (Cobertura), JSON, LCOV, JUnit, a Markdown summary and a badge.

    They stand in .covfleet/reports, which is replaced, and in the store beside the build.
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
    if not session.call.build and session.newest_build() is None:
        return _report_folder(session, workdir, out)
    return report_build(
        session.store,
        session.known_build(),
        Places(workdir, out, _cache(session)),
        workers=session.settings.s3.connections,
        narrate=session.narrate,
    )


def _cache(session: Session) -> Path:
    return session.own_folder() / "cache"


def _report_folder(session: Session, workdir: Path, out: Path) -> tuple[Totals, Ledger]:
    """Report a commit's folder that other tools filled, over the project as it lies here."""
    combined = combine(session, workdir)
    root = Path(session.checkout.root)
    sources = manifest(root, session.checkout.files)
    archive, folder = workdir / "sources.tar.zst", workdir / "sources"
    pack(root, sources, archive)
    unpack(archive, folder, sources)
    with cache_here(_cache(session), session.narrate) as cache:
        totals = write_reports(
            ReportRequest(
                data_file=combined.data_file,
                source_dir=folder,
                ledger=combined.ledger,
                outcomes=combined.outcomes,
                out=out,
                contexts=session.settings.contexts,
                cache=cache,
            )
        )
    return totals, combined.ledger
