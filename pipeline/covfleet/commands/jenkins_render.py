"""``covfleet jenkins render``: write the files that Jenkins reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from covfleet.adapters.folder.atomic import replacing
from covfleet.adapters.jenkins.controller import open_controller
from covfleet.commands.common import options
from covfleet.commands.common.changes import print_changes
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session
from covfleet.errors import ConfigurationError
from covfleet.jenkins.changes import decide_changes
from covfleet.jenkins.render import Drift, Generated, drifts, render


@options.command(
    "render",
    examples=(
        ("covfleet jenkins render", "Write the files; commit them together with the settings."),
        (
            "covfleet jenkins render --check",
            "In a build: fail and show the difference if they are out of date.",
        ),
        ("covfleet jenkins render --diff", "Show what `covfleet jenkins apply` would change."),
    ),
)
@click.option(
    "--check", is_flag=True, help="Write nothing; show a diff and exit with 2 if a file is out of date."
)
@click.option(
    "--diff",
    is_flag=True,
    help="Write nothing; show what `covfleet jenkins apply` would change, and exit with 2 if it refuses to.",
)
@click.option("--force", is_flag=True, help="Replace files even if covfleet didn't generate them.")
def command(call: Call, *, check: bool, diff: bool, force: bool) -> None:
    """Write the Jenkinsfile, and jobs.yaml and cloud.yaml in the folder of generated files.

    Settings: [tool.covfleet.jenkins]. The project's own templates in templates/jenkins override covfleet's.
    """
    session = Session(call)
    if diff:
        controller = open_controller(session.settings.jenkins.url, os.environ)
        changes = decide_changes(session.settings, session.project, controller)
        print_changes(changes, as_json=False)
        changes.check()
        return
    files = render(session.settings, session.project)
    for file in files:
        if file.text is None:
            session.narrate(f"{file.path}: not generated: {file.reason}")
    found = drifts(files, session.project)
    if check:
        _refuse(found)
        return
    _write(session.project, found, force=force)
    _print_states(files, found)


def _refuse(found: Sequence[Drift]) -> None:
    for drift in found:
        click.echo(drift.diff, nl=False)
    if found:
        names = ", ".join(drift.file.path for drift in found)
        raise ConfigurationError(
            f"out of date: {names}",
            hint="Run `covfleet jenkins render` and commit the result; it overwrites manual changes.",
        )


def _write(project: Path, found: Sequence[Drift], *, force: bool) -> None:
    if (foreign := [drift.file.path for drift in found if drift.foreign]) and not force:
        raise ConfigurationError(
            f"covfleet didn't generate these files and won't replace them: {', '.join(foreign)}",
            hint="Move them away, set another jenkins.output, or replace them with --force.",
        )
    for drift in found:
        path = project / drift.file.path
        if drift.file.text is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text(drift.file.text, "utf-8", newline="\n")


def _print_states(files: Sequence[Generated], found: Sequence[Drift]) -> None:
    changed = {drift.file.path for drift in found}
    for file in files:
        if file.text is not None:
            click.echo(f"{file.path}: {'written' if file.path in changed else 'up to date'}")
        elif file.path in changed:
            click.echo(f"{file.path}: removed")
