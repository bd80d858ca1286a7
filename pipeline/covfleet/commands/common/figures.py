"""A build's figures as ``--json`` prints them: version 1."""

from __future__ import annotations

import json
from dataclasses import asdict

from covfleet.model import Ledger, Totals, floor_percent


def to_text(totals: Totals, ledger: Ledger, **more: str | bool) -> str:
    """Return figures and verdict as JSON; percentages are strings, rounded down to two decimals."""
    percent = {
        f"{name}_percent": str(floor_percent(getattr(totals, name))) for name in ("total", "line", "branch")
    }
    build = {
        "commit": ledger.commit,
        "build": ledger.build,
        "branch": ledger.branch,
        "verdict": ledger.verdict,
    }
    tests = {"tests_planned": ledger.tests_planned, "outcomes": ledger.outcomes, "failures": ledger.failures}
    return json.dumps({"version": 1, **build, **percent, "totals": asdict(totals), **tests, **more}, indent=2)
