"""``covfleet jenkins apply``: keep the controller's jobs up to date."""

from __future__ import annotations

import os

import click

from covfleet.adapters.jenkins.controller import open_controller
from covfleet.commands.common import options
from covfleet.commands.common.changes import print_changes, print_operation
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session
from covfleet.jenkins.apply import perform
from covfleet.jenkins.changes import decide_changes


@options.command(
    "apply",
    "dry_run",
    "as_json",
    examples=(
        ("covfleet jenkins apply --dry-run", "Show what would be created and changed, and how."),
        ("covfleet jenkins apply", "Do it; a second time changes nothing."),
        ("covfleet jenkins apply --adopt team/covfleet", "Take over a job that somebody made by hand."),
    ),
)
@click.option(
    "--adopt",
    multiple=True,
    metavar="NAME",
    help="Take over this job or view, folder included, though covfleet didn't make it; may be repeated.",
)
def apply(call: Call, adopt: tuple[str, ...]) -> None:
    """Create or update our jobs, their folder and their view on the controller.

    Nothing is written if a job that the multi-job names is missing, if a plugin is absent or too old, or if
    a job of that name isn't ours: its description says whose it is. Nothing is ever deleted. A dry run shows
    the differences of what exists; with --json also those of what doesn't.
    """
    session = Session(call)
    controller = open_controller(session.settings.jenkins.url, os.environ)
    changes = decide_changes(session.settings, session.project, controller, adopt)
    if call.dry_run:
        print_changes(changes, as_json=call.as_json)
        changes.check()
        return
    if call.as_json:
        perform(changes, controller, lambda _: None)
        print_changes(changes, as_json=True)
        return
    perform(changes, controller, print_operation)
    count = len(changes.pending)
    session.narrate(
        f"{count} of {len(changes.operations)} changed on {controller.url}" if count else "no changes"
    )
