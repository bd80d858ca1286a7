"""A table of a commit's builds for humans."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from covfleet.byhand.builds import BuildSummary
from covfleet.text import counted, printable


def table(summaries: Sequence[BuildSummary], chosen: str = "") -> str:
    """Return the builds as the lines of a table; ``chosen`` is marked."""
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
        parts.append(f"{counted(len(shards), 'shard')} running or dead")
    if summary.verdict:
        parts.append(f"combined: {summary.verdict}")
    elif summary.damage:
        parts.append(f"its ledger is damaged: {printable(summary.damage)}")
    else:
        parts.append("not combined")
    return ", ".join(parts)
