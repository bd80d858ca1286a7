"""``covfleet doctor``: print every check with its finding and its fix."""

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

from covfleet.commands.common import options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session
from covfleet.doctor import checks as doctor
from covfleet.doctor.cost import SampleCosts
from covfleet.doctor.cost import measure as measure_cores
from covfleet.errors import PipelineError
from covfleet.report.cache.branch import cache_here
from covfleet.report.proof.record import Proof
from covfleet.report.rendering import examine
from covfleet.store import transfer
from covfleet.text import counted
from covfleet.worker.core_comparison import named

_SHOWN = 20
_SIGNS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@options.command(
    "doctor",
    "executor",
    "python",
    "image_base",
    "as_json",
    examples=(
        ("covfleet doctor", "Check this machine and the project in this folder."),
        (
            "covfleet doctor --store s3://bucket/coverage",
            "Check that the bucket is usable; this writes an object.",
        ),
        ("covfleet doctor --executor docker --json", "For programs: every check with its status and fix."),
        ("covfleet doctor --measure", "Run a sample of the suite under each core, and compare the cores."),
    ),
)
@click.option(
    "--measure",
    is_flag=True,
    help="Run a sample of the suite without coverage, under the C tracer and under covfleet's own core, and "
    "compare them. With containers, it runs in the application's image, which is built if necessary.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    metavar="N",
    help="Approximate time that --measure may take, in seconds.",
)
def command(call: Call, *, measure: bool, seconds: float) -> int:
    """Check the machine, project, engine and store, and suggest a fix for each failure.

    Exits with 0 if covfleet can run here, 2 if something needs correcting, 5 if covfleet's own core misses
    lines that the C tracer measures or makes a test fail, 6 if Docker or S3 doesn't answer.
    """
    session = Session(call)
    checks = doctor.diagnose(
        doctor.Subject(
            machine=lambda: _machine(session),
            settings=lambda: session.settings,
            checkout=lambda: session.checkout,
            reports=lambda: _reports(session),
            launcher=lambda _settings: session.processes(),
            engine=lambda _settings: session.engine,
            store=lambda _settings: session.store,
            probe_store=transfer.probe_conditions,
        )
    )
    measured = None
    if measure and not doctor.exit_code(checks):
        try:
            measured = _measured(session, seconds)
            checks = (*checks, doctor.cores_check(measured))
        except PipelineError as error:
            checks = (
                *checks,
                doctor.Check("cores for contexts", "fail", str(error), error.hint, error.exit_code),
            )
    code = doctor.exit_code(checks)
    if call.as_json:
        described = [{**asdict(check), "exit_code": _code(check)} for check in checks]
        document = {"version": 1, "exit_code": code, "checks": described}
        if measured is not None:
            document["measured"] = _described(measured)
        click.echo(json.dumps(document, indent=2))
    else:
        _print(checks)
        if measured is not None:
            _print_measured(measured)
    return code


def _reports(session: Session) -> Proof:
    with cache_here(session.project / ".covfleet" / "cache", session.narrate) as cache:
        return examine(session.project, cache)


def _measured(session: Session, seconds: float) -> SampleCosts:
    image = session.image("")
    return measure_cores(session.settings, session.launcher(image.reference if image else ""), seconds)


def _described(measured: SampleCosts) -> dict[str, object]:
    """Return the measurement in its JSON form."""
    seen = measured.seen
    return {
        "files": measured.files,
        "files_collected": measured.files_collected,
        "tests": measured.tests,
        "cores": [asdict(cost) for cost in measured.costs],
        "contexts": seen.contexts,
        "pairs": seen.pairs,
        "unstable": [named(pair) for pair in sorted(seen.unstable)],
        "missed": [named(pair) for pair in sorted(seen.missed)],
        "only_ours": [named(pair) for pair in sorted(seen.only_ours)],
        "failing": sorted(seen.failing),
    }


def _print_measured(measured: SampleCosts) -> None:
    click.echo()
    files = counted(measured.files_collected, "file")
    tests = f"{counted(measured.tests, 'test')} in {measured.files:,} of {files}"
    click.echo(f"{tests}, statement coverage with contexts:")
    for cost in measured.costs:
        ratio = "" if cost.overhead is None else f"{cost.overhead:6.2f}x"
        click.echo(f"    {cost.core.ljust(8)} {cost.cpu_s:8.2f} s CPU {ratio}".rstrip())
    if measured.is_short:
        more = "; use --seconds for a longer sample" if measured.files < measured.files_collected else ""
        click.echo(f"    These tests are too short for meaningful ratios{more}.")
    if measured.seen.unstable:
        pairs = counted(len(measured.seen.unstable), "pair")
        click.echo(f"    {pairs} of line and context occurred in some runs only.")
    differences = [*measured.seen.differences()]
    for difference in differences[:_SHOWN]:
        click.secho(f"    {difference}", fg="red")
    if len(differences) > _SHOWN:
        click.echo(f"    ... and {len(differences) - _SHOWN:,} more; --json lists all")


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
