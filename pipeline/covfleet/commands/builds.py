"""``covfleet builds COMMIT``: what the store holds of a commit, and how far each build is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import click

from covfleet.byhand.recombine import no_build
from covfleet.commands.common import options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session
from covfleet.store.keys import CommitKeys
from covfleet.store.status import BuildSummary, list_builds
from covfleet.text import counted, printable


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
    store, keys = session.open_to_read(), session.commit_keys()
    summaries = list_builds(store, keys, workers=session.settings.s3.connections)
    if not summaries:
        raise no_build(store, keys)
    click.echo(_as_json(keys, summaries) if call.as_json else table(summaries))


def table(summaries: Sequence[BuildSummary], chosen: str = "") -> str:
    """Return the builds as lines for a human; ``chosen`` is marked."""
    rows = [("BUILD", "PLANNED (UTC)", "BRANCH", "STATE")]
    rows += [(each.build, _when(each), printable(each.branch), _state(each)) for each in summaries]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{'*' if row[0] == chosen else ' '} "
        + "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]))
        for row in rows
    )


def _when(summary: BuildSummary) -> str:
    if not summary.created_at:
        return "?"
    return f"{datetime.fromisoformat(summary.created_at).astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _state(summary: BuildSummary) -> str:
    if not summary.created_at:
        return f"unreadable: {printable(summary.damage)}"
    if summary.complete:
        parts = [f"all {counted(summary.batches, 'batch')} done"]
    else:
        parts = [f"{summary.batches_done} of {counted(summary.batches, 'batch')}"]
    if shards := summary.open_shards:
        parts.append(f"{counted(len(shards), 'shard')} at work or gone")
    if summary.verdict:
        parts.append(f"combined: {summary.verdict}")
    elif summary.damage:
        parts.append(f"its ledger is damaged: {printable(summary.damage)}")
    else:
        parts.append("not combined")
    return ", ".join(parts)


def _as_json(keys: CommitKeys, summaries: Sequence[BuildSummary]) -> str:
    found = [{**asdict(summary), "complete": summary.complete} for summary in summaries]
    return json.dumps({"version": 1, "commit": keys.commit, "builds": found}, indent=2)
