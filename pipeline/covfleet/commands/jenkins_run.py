"""``covfleet jenkins run``, ``follow`` and ``status``: builds on the controller, driven from here."""

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
    help="Which of the generated jobs; by default the first of jenkins.drivers.",
)
_console = click.option(
    "--console", "show_console", is_flag=True, help="Print the build's console as it grows, and follow it."
)


@options.command(
    "run",
    "shards",
    "as_json",
    examples=(
        ("covfleet jenkins run --follow", "Build the branch of the settings, and show it to its end."),
        ("covfleet jenkins run --commit 3f9a1c2 --shards 12 --follow --console", "With the build's console."),
        ("covfleet jenkins run --branch feature/x", "Start it, and say how to follow it later."),
    ),
)
@click.option("--commit", "of_commit", metavar="SHA", help="Build this commit.")
@click.option("--branch", "of_branch", metavar="NAME", help="Build this branch; by default the job's own.")
@click.option("--replan", is_flag=True, help="Plan again, even if this Jenkins build has a plan already.")
@click.option("--follow", "follows", is_flag=True, help="Show the build until it ends, and end as it does.")
@_console
@_driver
def run(call: Call, *, follows: bool, show_console: bool, driver: str | None, **asked: Any) -> None:
    """Start a build on the controller, once and only once, whatever happens to the request.

    With --follow the exit code is the build's: SUCCESS 0, UNSTABLE 3 (tests failed), FAILURE what the stage
    that failed ended with (4 below a gate, 5 incomplete data, …; 1 if nobody knows), ABORTED 130. An
    interrupt ends this command alone: the build goes on, and `covfleet jenkins follow` shows it again.
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
        click.echo(f"{job}: request {request.id} is item {triggered.queue_item} of the queue")
        session.narrate(f"follow it with: covfleet jenkins follow {request.id}")


@options.command(
    "follow",
    "as_json",
    examples=(
        ("covfleet jenkins follow", "The newest build."),
        ("covfleet jenkins follow 17 --console", "Build 17, with its console from the beginning."),
        ("covfleet jenkins follow r3c1f0a9b2d4e5f60", "What an earlier `covfleet jenkins run` asked for."),
    ),
)
@click.argument("wanted", metavar="[BUILD|REQUEST]", required=False)
@_console
@_driver
def follow(call: Call, *, wanted: str | None, show_console: bool, driver: str | None) -> None:
    """Show a build until it ends, and end as it does: see `covfleet jenkins run --help`."""
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
        ("covfleet jenkins status", "The last ten builds."),
        ("covfleet jenkins status --limit 50 --json", "More of them, for a program."),
    ),
)
@click.option(
    "--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="How many builds, at most."
)
@_driver
def status(call: Call, *, limit: int, driver: str | None) -> None:
    """Show the last builds: how they ended, and what came out of them.

    Verdict, coverage and the branch come from the store, as far as this machine can read it.
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
            f"there is no {driver} job", hint=f"jenkins.drivers in the settings names {', '.join(drivers)}."
        )
    names = job_names(session.settings.jenkins)
    return names.multijob.full if (driver or drivers[0]) == "multijob" else names.pipeline.full


def _parameters(
    session: Session, *, of_branch: str | None, of_commit: str | None, replan: bool
) -> dict[str, str]:
    """Return the parameters that were given; the job has its own defaults for the others."""
    if of_branch and of_commit:
        raise click.UsageError("--branch and --commit don't go together: a build is of one of them.")
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
        raise JenkinsError(f"{job} has no builds yet", hint="covfleet jenkins run starts one.")
    return f"{builds[0].number}"


def _follow(
    session: Session,
    controller: Controller,
    request: TriggerRequest,
    triggered: TriggeredBuild,
    *,
    show_console: bool,
) -> None:
    """Show a build to its end, print what came out of it, and raise what its result means."""
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
    """Return what the command that failed ended with, as the console tells, or the store's ledger."""
    return follower.failure_code(build) or _quietly(lambda: _code_in_store(session, build))


def _code_in_store(session: Session, build: Build) -> int | None:
    store = session.open_to_read()
    left, ours = stored(store, build), build_of(store, build)
    if left.ledger is None or ours is None:
        return None
    if left.manifest is None and left.ledger.verdict not in ("partial", "conflicting"):
        return None
    try:
        gate_build(ours, session.settings.gate)
    except PipelineError as error:
        return error.exit_code
    return None


def _print_end(session: Session, request: TriggerRequest, build: Build) -> None:
    """Print the figures, as far as the store knows them."""
    left = _quietly(lambda: stored(session.open_to_read(), build))
    manifest, ledger = (left.manifest, left.ledger) if left else (None, None)
    coverage = str(floor_percent(manifest.totals.total)) if manifest else None
    if session.call.as_json:
        known = {
            "build": build.number,
            "result": build.result,
            "url": build.url,
            "verdict": ledger.verdict if ledger else None,
            "total_percent": coverage,
        }
        click.echo(json.dumps({**_requested(request, TriggeredBuild(build.queue_id)), **known}, indent=2))
    elif manifest and ledger:
        click.echo(f"coverage {coverage}%, {ledger.verdict}, commit {ledger.commit}")


def _quietly(ask: Callable[[], Any]) -> Any:
    """Return what the store says, ``None`` where it can't be read: that was told while it was watched."""
    try:
        return ask()
    except PipelineError:
        return None


def _requested(request: TriggerRequest, triggered: TriggeredBuild) -> dict[str, Any]:
    return {"version": 1, "job": request.job, "request": request.id, "queue_item": triggered.queue_item}


def _left(wanted: str) -> InterruptedRunError:
    return InterruptedRunError(
        "interrupted: nobody watches the build any more, and it goes on",
        hint=f"Watch it again with: covfleet jenkins follow {wanted}",
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
