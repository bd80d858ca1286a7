"""Decide whether a ledger allows a result, and explain it if it doesn't."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from covfleet.errors import IncompleteDataError
from covfleet.model import Ledger, Problem

_PROBLEMS_SHOWN = 10


def publishable(ledger: Ledger, *, allow_partial: bool) -> bool:
    """Return whether the ledger's data may become a result."""
    return ledger.verdict in ("complete", "unverified") or (allow_partial and ledger.verdict == "partial")


def refusal(ledger: Ledger, what: str) -> IncompleteDataError:
    """Return the error that names the first problems and counts the others."""
    shown, more = ledger.problems[:_PROBLEMS_SHOWN], ledger.problems[_PROBLEMS_SHOWN:]
    lines = [f"the data of {what} is {ledger.verdict}: {_counted(ledger.problems)}"]
    lines += [f"  {problem.kind}: {problem.subject}: {problem.detail}" for problem in shown]
    if more:
        lines.append(f"  and {_counted(more)} more")
    return IncompleteDataError("\n".join(lines), hint=_hint(ledger))


def _counted(problems: Sequence[Problem]) -> str:
    counts = Counter(problem.kind for problem in problems)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


def _hint(ledger: Ledger) -> str:
    if ledger.verdict == "partial":
        return (
            "Run the missing shards again (`covfleet shard`), or use --allow-partial to go on without them."
        )
    return "Contradictory data can't be combined: start a new build. The raw data stays in the store."
