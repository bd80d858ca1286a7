"""``covfleet shard K``: run one of the N shards of a planned build."""

from __future__ import annotations

import click

from covfleet.commands.common import options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session, stopping
from covfleet.errors import InterruptedRunError, TestsFailedError, WorkerError
from covfleet.shard.agent import run_shard
from covfleet.shard.request import ShardRequest
from covfleet.store.encoding import to_json
from covfleet.text import counted


@options.command(
    "shard",
    "commit",
    "build",
    "executor",
    "python",
    "as_json",
    examples=(
        ("covfleet shard 1", "Run shard 1 of the newest build of this folder's commit."),
        (
            "covfleet shard 3 --commit $GIT_COMMIT --build $BUILD_NUMBER --store s3://bucket/coverage",
            "On an agent.",
        ),
        (
            "covfleet shard 3 --build $BUILD_NUMBER --wait 600",
            "On an agent that may start before the build is planned.",
        ),
    ),
)
@click.argument("shard", metavar="K", type=click.IntRange(min=1))
@options.wait
def command(call: Call, shard: int, wait_s: float) -> None:
    """Run shard K: first its own batches, then those that other shards haven't started or have lost.

    Run it again after a failure: batches with a result don't run twice.
    """
    session = Session(call)
    plan = session.planned(wait_s)
    with stopping() as stop, session.workdir() as workdir:
        heartbeat = run_shard(
            ShardRequest(
                build=session.known_build(),
                plan=plan,
                shard=shard,
                launcher=session.launcher(plan.image),
                settings=session.settings,
                clock=session.clock,
                stop=stop,
                narrate=session.narrate,
                workdir=workdir,
            )
        )
    if call.as_json:
        click.echo(to_json(heartbeat).decode(), nl=False)
    if heartbeat.state == "stopped":
        raise InterruptedRunError(
            f"shard {shard} was stopped: {heartbeat.detail or 'by a signal'}",
            hint="Acknowledged results are kept; the other shards, or this one started again, run the rest.",
        )
    if heartbeat.state == "failed":
        raise WorkerError(f"shard {shard} failed: {heartbeat.detail}")
    if heartbeat.tests_failed:
        raise TestsFailedError(f"{counted(heartbeat.tests_failed, 'test')} failed on shard {shard}")
