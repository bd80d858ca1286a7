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
        ("covfleet jenkins apply --dry-run", "Show what would be created or changed."),
        ("covfleet jenkins apply", "Create and change it; running this again changes nothing."),
        ("covfleet jenkins apply --adopt team/covfleet", "Take over a job that somebody created by hand."),
    ),
)
@click.option(
    "--adopt",
    multiple=True,
    metavar="NAME",
    help="Take over a job or view that covfleet didn't create, by its full name; may be repeated.",
)
def apply(call: Call, adopt: tuple[str, ...]) -> None:
    """Create or update covfleet's jobs, their folder and their view on the controller.

    It writes nothing if a job that the multi-job names is missing, a plugin is missing or too old, or a job
    of the same name isn't covfleet's, as its description shows. It never deletes anything. A dry run shows
    the differences of existing items; with --json, also of new ones.
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
        f"changed {count} of {len(changes.operations)} items on {controller.url}" if count else "no changes"
    )
