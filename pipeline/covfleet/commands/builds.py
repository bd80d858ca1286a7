"""``covfleet builds COMMIT``: the builds of a commit in the store, and the progress of each."""

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
        ("covfleet builds $SHA --json", "The same list for programs."),
    ),
)
@click.argument("commit", metavar="COMMIT")
def command(call: Call) -> None:
    """List the builds of a commit: id, planning time, branch, and the verdict or the progress so far.

    The newest comes first, by the clocks of the machines that planned them. This command writes nothing and
    needs no checkout.
    """
    session = Session(call)
    commit = session.commit(session.open_to_read())
    summaries = list_builds(commit, workers=session.settings.s3.connections)
    if not summaries:
        raise no_build(commit)
    click.echo(_as_json(commit.name, summaries) if call.as_json else table(summaries))


def _as_json(commit: str, summaries: Sequence[BuildSummary]) -> str:
    builds = [{**asdict(summary), "complete": summary.complete} for summary in summaries]
    return json.dumps({"version": 1, "commit": commit, "builds": builds}, indent=2)
