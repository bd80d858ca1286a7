"""``covfleet jenkins lint`` and ``apply``: check the Jenkinsfile, keep the controller's jobs up to date."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import click

from covfleet.adapters.jenkins.controller import open_controller
from covfleet.adapters.jenkins.groovy import GroovyLint
from covfleet.commands.common import options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session
from covfleet.errors import ConfigurationError
from covfleet.jenkins.apply import Changes, Operation, Rules, decide, look, perform, wanted
from covfleet.jenkins.jobs import definitions
from covfleet.jenkins.lint import Finding, Lint, lint_here, lint_on_controller
from covfleet.jenkins.render import render
from covfleet.jenkins.requirements import least_versions, plugins_of_steps
from covfleet.ports.controller import Controller

_JENKINSFILE = "Jenkinsfile"
_COLORS = {"create": "green", "update": "yellow", "unchanged": None}
_LINES = {"+": "green", "-": "red", "@": "cyan"}


@options.command(
    "lint",
    "as_json",
    examples=(
        ("covfleet jenkins lint", "Check the project's Jenkinsfile, on the controller if one is set."),
        (
            "covfleet jenkins lint --offline ci/Jenkinsfile",
            "Check another one, with a parser on this machine.",
        ),
    ),
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--offline", is_flag=True, help="Don't ask the controller; parse with npm-groovy-lint.")
def lint(call: Call, file: Path | None, *, offline: bool) -> int:
    """Check a Jenkinsfile: its syntax, its steps, and the plugins that bring them.

    With jenkins.url set the controller's validator reads it, and each step's plugin must be installed there
    in a version that will do; otherwise npm-groovy-lint parses it. Ends with 2 if something is wrong.
    """
    session = Session(call)
    settings = session.settings.jenkins
    path = Path.cwd() / file if file else session.project / _JENKINSFILE
    text = _read(path)
    if settings.url and not offline:
        found = lint_on_controller(text, settings, open_controller(settings.url, os.environ))
    else:
        found = lint_here(text, settings, GroovyLint(os.environ))
    if call.as_json:
        findings = [asdict(finding) for finding in found.findings]
        described = {"version": 1, "file": str(path), "checked_by": found.checked_by, "findings": findings}
        click.echo(json.dumps(described, indent=2))
    else:
        _print_findings(file or Path(_JENKINSFILE), found)
    return ConfigurationError.exit_code if found.findings else 0


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
    changes = decide_changes(session, controller, adopt)
    if call.dry_run:
        _report(changes, as_json=call.as_json)
        changes.check()
        return
    if call.as_json:
        perform(changes, controller, lambda _: None)
        _report(changes, as_json=True)
        return
    perform(changes, controller, _print_operation)
    count = len(changes.pending)
    session.narrate(
        f"{count} of {len(changes.operations)} changed on {controller.url}" if count else "no changes"
    )


def decide_changes(session: Session, controller: Controller, adopt: tuple[str, ...] = ()) -> Changes:
    """Compare what the settings and templates ask for with what the controller has."""
    settings = session.settings
    owner = settings.jenkins.repository
    items = wanted(definitions(settings, session.project), owner)
    steps: tuple[tuple[str, str], ...] = ()
    if "pipeline" in settings.jenkins.drivers:
        files = {file.path: file.text or "" for file in render(settings, session.project)}
        steps = plugins_of_steps(files[_JENKINSFILE], settings.jenkins)
    rules = Rules(owner, least_versions(settings.jenkins), steps, adopt)
    return decide(items, look(controller, items), rules)


def show_difference(session: Session) -> None:
    """Print what applying would change on the controller, for ``render --diff``.

    Raises:
        ConfigurationError: something stands in the way of applying; printed nonetheless.
    """
    changes = decide_changes(session, open_controller(session.settings.jenkins.url, os.environ))
    _report(changes, as_json=False)
    changes.check()


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no {path}", hint="Write it with `covfleet jenkins render`."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"can't read {path}: {error}") from error


def _print_findings(path: Path, found: Lint) -> None:
    for finding in found.findings:
        click.echo(_line(path, finding))
    if not found.findings:
        click.secho(f"{path} is sound, says {found.checked_by}.", fg="green", err=not sys.stdout.isatty())


def _line(path: Path, finding: Finding) -> str:
    place = f"{path}:{finding.line}:{finding.column}" if finding.line else str(path)
    return f"{place}: {click.style('error:', fg='red', bold=True)} {finding.message}"


def _report(changes: Changes, *, as_json: bool) -> None:
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
        _print_operation(operation)
        if operation.action == "update":
            _print_difference(operation)


def _print_operation(operation: Operation) -> None:
    action = click.style(operation.action.ljust(9), fg=_COLORS[operation.action])
    why = f"  ({operation.why})" if operation.action == "update" else ""
    click.echo(f"{action}  {operation.kind.ljust(6)}  {operation.name}{why}")


def _print_difference(operation: Operation) -> None:
    for line in operation.difference.splitlines():
        click.secho(line, fg=_LINES.get(line[:1]))
