"""``covfleet combine``: one .coverage of a build, or of a folder that other tools filled."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.combine.build import Combined, combine_build
from pipeline.combine.folder import Project, combine_folder
from pipeline.combine.gather import Transfers
from pipeline.commands import options
from pipeline.commands.options import Call
from pipeline.commands.session import Session
from pipeline.model import Ledger, to_json


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
        ("covfleet combine --allow-partial", "Take what there is when shards were lost; reports say so."),
    ),
)
def command(call: Call) -> None:
    """Verify every data file of a build against plan and results, then merge them into one .coverage.

    Nothing is deleted, and doing it twice changes nothing. A commit's folder that was filled by other tools,
    without a plan, is combined too: its verdict is "unverified". The result also lies in .covfleet/.coverage.
    """
    session = Session(call)
    with session.workdir() as workdir:
        combined = combine(session, workdir)
        combined.data_file.replace(session.own_folder() / ".coverage")
    click.echo(
        to_json(combined.ledger).decode() if call.as_json else _described(combined.ledger),
        nl=not call.as_json,
    )


def combine(session: Session, workdir: Path) -> Combined:
    """Combine the build that is meant; without any build, the commit's folder."""
    call, keys = session.call, session.commit_keys()
    build = call.build or session.newest_build()
    workers = session.settings.s3.connections
    if build:
        return combine_build(
            session.store, keys.build(build), workdir, allow_partial=call.allow_partial, workers=workers
        )
    checkout = session.checkout
    project = Project(Path(checkout.root), checkout.files, checkout.branch)
    return combine_folder(
        session.store,
        keys,
        workdir,
        project=project,
        allow_partial=call.allow_partial,
        transfers=Transfers(workers),
    )


def _described(ledger: Ledger) -> str:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(ledger.outcomes.items()))
    lines = [
        f"build    {ledger.build or 'none'}",
        f"commit   {ledger.commit}",
        f"verdict  {ledger.verdict}",
        f"tests    {outcomes or 'unknown'}; {ledger.tests_planned} planned",
        f"data     {len(ledger.data_files)} files",
    ]
    return "\n".join([*lines, *ledger.notes])
