"""``covfleet run``: all stages on this machine."""

from __future__ import annotations

import os
import shutil
import sys

import click
from rich.console import Console

from covfleet import flow
from covfleet.adapters.processes.shards import ShardCommand
from covfleet.commands.common import figures, options
from covfleet.commands.common.options import Call
from covfleet.commands.common.planning import show_plan
from covfleet.commands.common.session import Session, stopping
from covfleet.errors import InterruptedRunError
from covfleet.report.own.terminal import print_summary
from covfleet.watch.progress import make_display


@options.command(
    "run",
    *options.PLANNING,
    "image_base",
    "gate_total",
    "gate_line",
    "gate_branch",
    "allow_partial",
    "pytest_args",
    "dry_run",
    "as_json",
    examples=(
        ("covfleet run", "Run the project in this folder with its settings."),
        (
            "covfleet run --shards 6 --contexts -- tests/unit -m 'not slow'",
            "Run some of its tests on six shards.",
        ),
        ("covfleet run --executor docker --image-base python:3.13-slim", "Run each shard in a container."),
        ("covfleet run --build 20261122T115740Z-3f9a", "Resume that build where it was interrupted."),
    ),
)
def command(call: Call) -> None:
    """Run all stages for a project on this machine, and print the combined coverage.

    Results: .covfleet/.coverage, and .covfleet/reports with html/index.html, coverage.xml, coverage.json,
    coverage.lcov, junit.xml, summary.md and badge.svg.
    """
    if call.dry_run:
        show_plan(call)
        return
    session = Session(call)
    job = flow.Run(
        session.checkout, session.settings, session.new_build(), session.own_folder(), call.allow_partial
    )
    tools = _tools(session, job)
    workdir = job.folder / "work"
    try:
        result = flow.run(job, tools)
        (workdir / ".coverage").replace(job.folder / ".coverage")
    except KeyboardInterrupt:
        hint = f"Finished work is kept; resume with: covfleet run --build {job.build.name}"
        raise InterruptedRunError("interrupted", hint=hint) from None
    finally:
        if workdir.exists():
            shutil.rmtree(workdir)
    if call.as_json:
        click.echo(
            figures.to_text(result.totals, result.ledger, reports=str(result.reports), site=result.site)
        )
    else:
        print_summary(Console(), result.reports)
        if result.site:
            click.echo(f"published: {result.site}")
    flow.judge(job, result)


def _tools(session: Session, job: flow.Run) -> flow.Tools:
    return flow.Tools(
        engine=lambda: session.engine,
        launcher=lambda image: session.launcher(image.reference if image else ""),
        start_shard=lambda shard: _start_shard(session, job, shard),
        site=lambda: session.open(session.settings.publish.site or ""),
        clock=session.clock,
        display=make_display(Console(stderr=True)),
        stopping=stopping,
        narrate=session.narrate,
        log=session.narrate,
    )


def _start_shard(session: Session, job: flow.Run, shard: int) -> ShardCommand:
    wait = ("--wait", f"{session.settings.batch_timeout_s}")
    build = ("--commit", job.build.commit, "--build", job.build.name, *wait)
    # -P: a package of our name in the project must not shadow ours
    command = (sys.executable, "-P", "-m", "covfleet", "shard", str(shard), "--project", session.project)
    log = job.folder / "logs" / f"shard-{shard}.log"
    environment = {**os.environ, **session.flags_as_variables()}
    return ShardCommand(shard, [str(word) for word in (*command, *build)], environment, log)
