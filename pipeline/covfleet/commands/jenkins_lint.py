"""``covfleet jenkins lint``: check that the Jenkinsfile can start."""

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
from covfleet.jenkins.lint import Finding, Lint, lint_here, lint_on_controller
from covfleet.jenkins.render import JENKINSFILE


@options.command(
    "lint",
    "as_json",
    examples=(
        (
            "covfleet jenkins lint",
            "Check the project's Jenkinsfile, on the controller if jenkins.url is set.",
        ),
        (
            "covfleet jenkins lint --offline ci/Jenkinsfile",
            "Check another file, with a parser on this machine.",
        ),
    ),
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--offline", is_flag=True, help="Don't ask the controller; use npm-groovy-lint.")
def lint(call: Call, file: Path | None, *, offline: bool) -> int:
    """Check a Jenkinsfile: its syntax, its steps, and the plugins that provide them.

    If jenkins.url is set, the controller's validator checks the file, and the plugin of each step must be
    installed there in a sufficient version; otherwise npm-groovy-lint parses it. Exits with 2 if anything is
    wrong.
    """
    session = Session(call)
    settings = session.settings.jenkins
    path = Path.cwd() / file if file else session.project / JENKINSFILE
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
        _print_findings(file or Path(JENKINSFILE), found)
    return ConfigurationError.exit_code if found.findings else 0


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} doesn't exist", hint="Write it with `covfleet jenkins render`."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"can't read {path}: {error}") from error


def _print_findings(path: Path, found: Lint) -> None:
    for finding in found.findings:
        click.echo(_line(path, finding))
    if not found.findings:
        click.secho(f"{found.checked_by} found no faults in {path}.", fg="green", err=not sys.stdout.isatty())


def _line(path: Path, finding: Finding) -> str:
    place = f"{path}:{finding.line}:{finding.column}" if finding.line else str(path)
    return f"{place}: {click.style('error:', fg='red', bold=True)} {finding.message}"
