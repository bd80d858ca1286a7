"""``covfleet builds COMMIT``: what the store holds of a commit, and how far each build is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import click

from covfleet.byhand.builds import BuildSummary, list_builds, no_build
from covfleet.byhand.table import table
from covfleet.commands.common import options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session


@options.command(
    "builds",
    "as_json",
    examples=(
        ("covfleet builds $SHA --store s3://bucket/coverage", "Every build of the commit, newest first."),
        ("covfleet builds $SHA --json", "The same for programs."),
    ),
)
@click.argument("commit", metavar="COMMIT")
def command(call: Call) -> None:
    """List the builds of a commit: id, when it was planned, branch, and the verdict or how far it is.

    Newest first, by the clocks of the machines that planned them. Nothing is written, and no checkout is
    needed.
    """
    session = Session(call)
    commit = session.commit(session.open_to_read())
    summaries = list_builds(commit, workers=session.settings.s3.connections)
    if not summaries:
        raise no_build(commit)
    click.echo(_as_json(commit.name, summaries) if call.as_json else table(summaries))


def _as_json(commit: str, summaries: Sequence[BuildSummary]) -> str:
    found = [{**asdict(summary), "complete": summary.complete} for summary in summaries]
    return json.dumps({"version": 1, "commit": commit, "builds": found}, indent=2)
