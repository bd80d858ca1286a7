"""``covfleet combine``: one .coverage from a build, or from a folder that other tools filled."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource
from rich.console import Console

from covfleet.combine.build import Combined, combine_build
from covfleet.combine.folder import combine_folder, project_of
from covfleet.combine.gather import Transfers
from covfleet.commands.common import options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session, stopping
from covfleet.errors import ConfigurationError
from covfleet.flow import Following, combine_beside
from covfleet.model import Ledger
from covfleet.store.encoding import to_json
from covfleet.text import counted
from covfleet.watch.progress import make_display


@options.command(
    "combine",
    "commit",
    "build",
    "allow_partial",
    "as_json",
    examples=(
        ("covfleet combine", "The newest build of this folder's commit."),
        (
            "covfleet combine --commit $SHA --store s3://bucket/coverage",
            "From any machine, without a checkout.",
        ),
        (
            "covfleet combine --allow-partial",
            "Combine what has arrived although shards were lost; the reports say so.",
        ),
        (
            "covfleet combine --follow --build $BUILD_NUMBER --wait 600",
            "Alongside the shards, even before the plan exists: little is left to do when the last one ends.",
        ),
    ),
)
@click.option(
    "--follow",
    "follows",
    is_flag=True,
    help="Merge results as the shards deliver them, until no more arrive.",
)
@options.wait
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(min=0),
    default=600.0,
    metavar="SECONDS",
    show_default=True,
    help="With --follow: stop waiting after this long without a heartbeat from any shard.",
)
def command(call: Call, wait_s: float, patience_s: float, *, follows: bool) -> None:
    """Verify every data file of a build against its plan and results, then merge them into one .coverage.

    It deletes nothing, and running it twice changes nothing. It also combines a commit's folder that other
    tools filled without a plan; the verdict is then "unverified". A copy of the result is in
    .covfleet/.coverage.

    With --follow it works alongside the shards. If it is interrupted or killed, start it again: it resumes
    where it stopped.
    """
    source = click.get_current_context().get_parameter_source("patience_s")
    if source is ParameterSource.COMMANDLINE and not follows:
        raise ConfigurationError("--patience needs --follow", hint="Add --follow, or leave out --patience.")
    session = Session(call)
    if wait_s:
        session.planned(wait_s)
    with session.workdir() as workdir:
        combined = _combined_beside(session, workdir, patience_s) if follows else _combined(session, workdir)
        combined.data_file.replace(session.own_folder() / ".coverage")
    click.echo(
        to_json(combined.ledger).decode() if call.as_json else _described(combined.ledger),
        nl=not call.as_json,
    )


def _combined(session: Session, workdir: Path) -> Combined:
    """Combine the build that --build or the commit selects; without any build, the commit's folder."""
    workers, allow_partial = session.settings.s3.connections, session.call.allow_partial
    if build := session.find_build():
        return combine_build(build, workdir, allow_partial=allow_partial, workers=workers)
    return combine_folder(
        session.commit(),
        workdir,
        project=project_of(session.checkout),
        allow_partial=allow_partial,
        transfers=Transfers(workers),
    )


def _combined_beside(session: Session, workdir: Path, patience_s: float) -> Combined:
    return combine_beside(
        Following(
            build=session.known_build(),
            settings=session.settings,
            folder=session.own_folder(),
            workdir=workdir,
            patience_s=patience_s,
            allow_partial=session.call.allow_partial,
            clock=session.clock,
            display=make_display(Console(stderr=True)),
            stopping=stopping,
            narrate=session.narrate,
        )
    )


def _described(ledger: Ledger) -> str:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(ledger.outcomes.items()))
    lines = [
        f"build    {ledger.build or 'none'}",
        f"commit   {ledger.commit}",
        f"verdict  {ledger.verdict}",
        f"tests    {outcomes or 'unknown'}; {ledger.tests_planned} planned",
        f"data     {counted(len(ledger.data_files), 'file')}",
    ]
    return "\n".join([*lines, *ledger.notes])
