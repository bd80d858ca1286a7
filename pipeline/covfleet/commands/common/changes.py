"""Print the changes that ``covfleet jenkins apply`` makes on a controller."""

from __future__ import annotations

import json

import click

from covfleet.jenkins.apply import Changes, Operation

_COLORS = {"create": "green", "update": "yellow", "unchanged": None}
_LINES = {"+": "green", "-": "red", "@": "cyan"}


def print_changes(changes: Changes, *, as_json: bool) -> None:
    """Print the changes for a human or a program."""
    if as_json:
        rows = [
            {
                "action": each.action,
                "kind": each.kind,
                "name": each.name,
                "why": each.why,
                "diff": each.difference,
            }
            for each in changes.operations
        ]
        click.echo(json.dumps({"version": 1, "operations": rows, "refusals": changes.refusals}, indent=2))
        return
    for operation in changes.operations:
        print_operation(operation)
        if operation.action == "update":
            _print_difference(operation)


def print_operation(operation: Operation) -> None:
    """Print one operation on one line."""
    action = click.style(operation.action.ljust(9), fg=_COLORS[operation.action])
    why = f"  ({operation.why})" if operation.action == "update" else ""
    click.echo(f"{action}  {operation.kind.ljust(6)}  {operation.name}{why}")


def _print_difference(operation: Operation) -> None:
    for line in operation.difference.splitlines():
        click.secho(line, fg=_LINES.get(line[:1]))
