"""``covfleet jenkins run``, ``follow`` and ``status``: start, follow and list builds on the controller."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from covfleet.adapters.jenkins.controller import open_controller
from covfleet.commands.common import options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session
from covfleet.errors import ConfigurationError, InterruptedRunError, JenkinsError, PipelineError
from covfleet.gate.stage import gate_build
from covfleet.jenkins.display import Screen, plain, styled
from covfleet.jenkins.follow import Follower
from covfleet.jenkins.jobs import job_names
from covfleet.jenkins.outcome import judge
from covfleet.jenkins.status import BuildRow, last_builds
from covfleet.jenkins.stored import Watched, build_of, stored
from covfleet.jenkins.trigger import TriggeredBuild, TriggerRequest, locate, new_request, start
from covfleet.model import floor_percent
from covfleet.ports.controller import Build, Controller
from covfleet.settings.names import branch_name
from covfleet.store.keys import checked
from covfleet.text import duration

_driver = click.option(
    "--driver",
    type=click.Choice(["pipeline", "multijob"]),
    help="Which generated job to use; by default the first of jenkins.drivers.",
)
_console = click.option(
    "--console",
    "show_console",
    is_flag=True,
    help="Follow the build and print its console output as it grows.",
)


@options.command(
    "run",
    "shards",
    "as_json",
    examples=(
        ("covfleet jenkins run --follow", "Build the branch in the settings, and follow it to its end."),
        (
            "covfleet jenkins run --commit 3f9a1c2 --shards 12 --follow --console",
            "With the build's console output.",
        ),
        ("covfleet jenkins run --branch feature/x", "Start the build, and show how to follow it later."),
    ),
)
@click.option("--commit", "of_commit", metavar="SHA", help="Build this commit.")
@click.option("--branch", "of_branch", metavar="NAME", help="Build this branch; by default the job's.")
@click.option("--replan", is_flag=True, help="Make a new plan even if this Jenkins build already has one.")
@click.option("--follow", "follows", is_flag=True, help="Follow the build; exit with a code for its result.")
@_console
@_driver
def run(call: Call, *, follows: bool, show_console: bool, driver: str | None, **asked: Any) -> None:
    """Start exactly one build on the controller, even if the request has to be repeated.

    With --follow the exit code reflects the build's result: SUCCESS 0, UNSTABLE 3 (tests failed), FAILURE the
    exit code of the failed stage (4 below a gate, 5 incomplete data, …; 1 if it is unknown), ABORTED 130. An
    interrupt ends only this command: the build continues, and `covfleet jenkins follow` shows it again.
    """
    session = Session(call)
    controller, job = _controller(session), _job(session, driver)
    request = new_request(job, _parameters(session, **asked))
    try:
        triggered = start(controller, session.clock, request, session.narrate)
        if follows or show_console:
            _follow(session, controller, request, triggered, show_console=show_console)
            return
    except KeyboardInterrupt:
        raise _left(request.id) from None
    if call.as_json:
        click.echo(json.dumps(_requested(request, triggered), indent=2))
    else:
        click.echo(f"{job}: request {request.id} is queue item {triggered.queue_item}")
        session.narrate(f"follow it with: covfleet jenkins follow {request.id}")


@options.command(
    "follow",
    "as_json",
    examples=(
        ("covfleet jenkins follow", "The newest build."),
        ("covfleet jenkins follow 17 --console", "Build 17, with its console output from the start."),
        (
            "covfleet jenkins follow r3c1f0a9b2d4e5f60",
            "The build that an earlier `covfleet jenkins run` requested.",
        ),
    ),
)
@click.argument("wanted", metavar="[BUILD|REQUEST]", required=False)
@_console
@_driver
def follow(call: Call, *, wanted: str | None, show_console: bool, driver: str | None) -> None:
    """Follow a build until it ends; for the exit codes, see `covfleet jenkins run --help`."""
    session = Session(call)
    controller, job = _controller(session), _job(session, driver)
    wanted = wanted or _newest(controller, job)
    request_id, triggered = locate(controller, job, wanted)
    try:
        _follow(
            session, controller, TriggerRequest(job, request_id, {}), triggered, show_console=show_console
        )
    except KeyboardInterrupt:
        raise _left(wanted) from None


@options.command(
    "status",
    "as_json",
    examples=(
        ("covfleet jenkins status", "The latest ten builds."),
        ("covfleet jenkins status --limit 50 --json", "More builds, for a program."),
    ),
)
@click.option(
    "--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="Maximum number of builds."
)
@_driver
def status(call: Call, *, limit: int, driver: str | None) -> None:
    """List the latest builds with their results and figures.

    Verdict, coverage and branch come from the store, if this machine can read it.
    """
    session = Session(call)
    controller, job = _controller(session), _job(session, driver)
    rows = last_builds(controller, session.open_to_read(), job, limit, session.narrate)
    if call.as_json:
        builds = [asdict(row) for row in rows]
        click.echo(json.dumps({"version": 1, "job": job, "builds": builds}, indent=2, default=str))
    elif not rows:
        click.echo(f"{job} has no builds yet")
    else:
        Console().print(_table(rows))


def _controller(session: Session) -> Controller:
    return open_controller(session.settings.jenkins.url, os.environ)


def _job(session: Session, driver: str | None) -> str:
    """Return the full name of the driver's job."""
    drivers = session.settings.jenkins.drivers
    if driver and driver not in drivers:
        raise ConfigurationError(
            f"there is no {driver} job", hint=f"jenkins.drivers in the settings lists {', '.join(drivers)}."
        )
    names = job_names(session.settings.jenkins)
    return names.multijob.full if (driver or drivers[0]) == "multijob" else names.pipeline.full


def _parameters(
    session: Session, *, of_branch: str | None, of_commit: str | None, replan: bool
) -> dict[str, str]:
    """Return the parameters that the user gave; the job has defaults for the others."""
    if of_branch and of_commit:
        raise click.UsageError("--branch and --commit exclude each other: name one of them.")
    shards = session.settings.shards
    parameters = {"SHARDS": f"{shards}"} if session.call.settings.get("shards") else {}
    if of_commit:
        parameters["COMMIT"] = checked(of_commit, "commit")
    if of_branch:
        try:
            parameters["COMMIT"] = f"refs/heads/{branch_name(of_branch)}"
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--branch") from error
    return {**parameters, "REPLAN": "true"} if replan else parameters


def _newest(controller: Controller, job: str) -> str:
    if not (builds := controller.builds(job, 1)):
        raise JenkinsError(f"{job} has no builds yet", hint="Start one with `covfleet jenkins run`.")
    return f"{builds[0].number}"


def _follow(
    session: Session,
    controller: Controller,
    request: TriggerRequest,
    triggered: TriggeredBuild,
    *,
    show_console: bool,
) -> None:
    """Follow a build to its end, print its figures, and raise the error for its result."""
    with Screen(Console(stderr=True), sys.stderr if session.call.as_json else sys.stdout) as screen:
        watched = Watched(session.open_to_read(), session.clock, screen.say)
        follower = Follower(
            controller, session.clock, screen, request.job, request.id, watched.status, show_console
        )
        build = follower.follow(triggered)
        code = _failure_code(session, follower, build) if build.result == "FAILURE" else None
    _print_end(session, request, build)
    judge(build, code)


def _failure_code(session: Session, follower: Follower, build: Build) -> int | None:
    """Return the exit code of the command that failed, from the console or else from the store's ledger."""
    return follower.failure_code(build) or _quietly(lambda: _code_in_store(session, build))


def _code_in_store(session: Session, build: Build) -> int | None:
    store = session.open_to_read()
    documents, ours = stored(store, build), build_of(store, build)
    if documents.ledger is None or ours is None:
        return None
    if documents.manifest is None and documents.ledger.verdict not in ("partial", "conflicting"):
        return None
    try:
        gate_build(ours, session.settings.gate)
    except PipelineError as error:
        return error.exit_code
    return None


def _print_end(session: Session, request: TriggerRequest, build: Build) -> None:
    """Print the figures that the store has of the build."""
    documents = _quietly(lambda: stored(session.open_to_read(), build))
    manifest, ledger = (documents.manifest, documents.ledger) if documents else (None, None)
    coverage = str(floor_percent(manifest.totals.total)) if manifest else None
    if session.call.as_json:
        outcome = {
            "build": build.number,
            "result": build.result,
            "url": build.url,
            "verdict": ledger.verdict if ledger else None,
            "total_percent": coverage,
        }
        click.echo(json.dumps({**_requested(request, TriggeredBuild(build.queue_id)), **outcome}, indent=2))
    elif manifest and ledger:
        click.echo(f"coverage {coverage}%, {ledger.verdict}, commit {ledger.commit}")


def _quietly(ask: Callable[[], Any]) -> Any:
    """Return the answer of ``ask``, or ``None`` if the store can't be read: following has reported that."""
    try:
        return ask()
    except PipelineError:
        return None


def _requested(request: TriggerRequest, triggered: TriggeredBuild) -> dict[str, Any]:
    return {"version": 1, "job": request.job, "request": request.id, "queue_item": triggered.queue_item}


def _left(wanted: str) -> InterruptedRunError:
    return InterruptedRunError(
        "interrupted: the build continues, but this command no longer follows it",
        hint=f"Follow it again with: covfleet jenkins follow {wanted}",
    )


def _table(rows: tuple[BuildRow, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("build", "result", "verdict", "coverage", "duration", "shards", "commit", "branch"):
        figure = title in ("build", "coverage", "duration", "shards")
        table.add_column(title, justify="right" if figure else "left", overflow="fold")
    for row in rows:
        table.add_row(
            f"#{row.number}",
            Text(*styled(row.result)),
            row.verdict or "",
            f"{row.coverage}%" if row.coverage is not None else "",
            duration(row.duration_s) if row.duration_s else "",
            f"{row.shards}" if row.shards else "",
            Text(plain(row.commit[:12])),
            Text(plain(row.branch)),
        )
    return table
