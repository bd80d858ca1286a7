"""Whether a result may be made of what was received, and what is said if it may not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from covfleet.errors import IncompleteDataError
from covfleet.model import Ledger, Problem

_PROBLEMS_SHOWN = 10


def publishable(ledger: Ledger, *, allow_partial: bool) -> bool:
    """Say whether a result may be made of what this ledger describes."""
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
            "Run the missing shards again (`covfleet shard`), or publish what there is with --allow-partial."
        )
    return "The raw data is untouched in the store. Contradictory data can't be combined: start a new build."
