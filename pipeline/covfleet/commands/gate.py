"""``covfleet gate``: compare a build's coverage with the thresholds."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from covfleet.commands.common import options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session
from covfleet.gate.stage import gate_build


@options.command(
    "gate",
    "commit",
    "build",
    "gate_total",
    "gate_line",
    "gate_branch",
    "as_json",
    examples=(
        (
            "covfleet gate",
            "The newest build of this folder's commit, with the thresholds of [tool.covfleet.gate].",
        ),
        ("covfleet gate --gate-total 85 --gate-branch 70.5", "With thresholds from the command line."),
    ),
)
def command(call: Call) -> None:
    """Compare a reported build with the thresholds as exact fractions.

    Exits with 4 if the coverage is below a threshold, and with 5 if the data is partial: partial data passes
    no gate.
    """
    session = Session(call)
    rules = gate_build(session.known_build(), session.settings.gate)
    if call.as_json:
        click.echo(
            json.dumps({"version": 1, "rules": [asdict(rule) for rule in rules]}, indent=2, default=str)
        )
        return
    width = max((len(rule.name) for rule in rules), default=0)
    for rule in rules:
        click.echo(f"{rule.name:<{width}}  {rule.actual}%, required {rule.wanted}%")
    if not rules:
        click.echo("no thresholds are set: see [tool.covfleet.gate], --gate-total, or fail_under")
