"""``covfleet doctor``: print what was found, worst first to the eye, with what to do about it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

import click

from pipeline import doctor, transfer
from pipeline.commands import options
from pipeline.commands.options import Call
from pipeline.commands.session import Session

_SIGNS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@options.command(
    "doctor",
    "executor",
    "python",
    "image_base",
    "as_json",
    examples=(
        ("covfleet doctor", "Examine this machine and the project in this folder."),
        (
            "covfleet doctor --store s3://bucket/coverage",
            "See whether the bucket can be used: it writes an object.",
        ),
        ("covfleet doctor --executor docker --json", "For programs: every check with its status and fix."),
    ),
)
def command(call: Call) -> int:
    """Examine machine, project, engine and store, and say what to do about each failure.

    Ends with 0 if covfleet can run here, 2 if something must be corrected, 6 if Docker or S3 don't answer.
    """
    session = Session(call)
    checks = doctor.diagnose(
        doctor.Subject(
            machine=lambda: _machine(session),
            settings=lambda: session.settings,
            checkout=lambda: session.checkout,
            launcher=lambda _settings: session.launcher(""),
            engine=lambda _settings: session.engine,
            store=lambda _settings: session.store,
            probe_store=transfer.probe_conditions,
        )
    )
    code = doctor.exit_code(checks)
    if call.as_json:
        described = [{**asdict(check), "exit_code": _code(check)} for check in checks]
        click.echo(json.dumps({"version": 1, "exit_code": code, "checks": described}, indent=2))
    else:
        _print(checks)
    return code


def _code(check: doctor.Check) -> int:
    return doctor.exit_code((check,))


def _machine(session: Session) -> doctor.Machine:
    try:
        git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        git = ""
    return doctor.Machine(
        python=platform.python_version(),
        cores=len(os.sched_getaffinity(0)),
        free_bytes=shutil.disk_usage(session.project).free,
        git=git,
    )


def _print(checks: Sequence[doctor.Check]) -> None:
    width = max(len(check.name) for check in checks)
    margin = " " * (width + 5)
    for check in checks:
        sign, color = _SIGNS[check.status]
        detail = textwrap.indent(check.detail, margin).lstrip()
        click.echo(f" {click.style(sign, fg=color, bold=True)}  {check.name.ljust(width)} {detail}")
        if check.fix and check.status != "ok":
            click.echo(f"{margin}{click.style('→ ' + check.fix, fg=color)}")
    bad = sum(check.status == "fail" for check in checks)
    click.echo()
    if bad:
        click.secho(f"{bad} of {len(checks)} checks failed.", fg="red", bold=True)
    else:
        click.secho("covfleet can run here.", fg="green", bold=True)
