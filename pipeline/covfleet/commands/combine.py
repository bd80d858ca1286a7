"""``covfleet combine``: one .coverage of a build, or of a folder that other tools filled."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource
from rich.console import Console

from covfleet.combine.build import Combined, combine_build
from covfleet.combine.folder import Project, combine_folder
from covfleet.combine.gather import Transfers
from covfleet.commands.common import options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session, stopping
from covfleet.errors import ConfigurationError, InterruptedRunError
from covfleet.model import Ledger
from covfleet.store.documents import to_json
from covfleet.store.status import StatusReader
from covfleet.watch.follow import Ending, Watch, combining_ahead, follow
from covfleet.watch.progress import make_display
from covfleet.watch.rehearsal import Rehearsals

_LONGEST_LOOK_S = 1.0


@options.command(
    "combine",
    "commit",
    "build",
    "allow_partial",
    "as_json",
    examples=(
        ("covfleet combine", "The newest build of this folder's commit."),
        (
            "covfleet combine --commit $SHA --store s3://bucket/coverage",
            "From any machine, without a checkout.",
        ),
        ("covfleet combine --allow-partial", "Take what there is when shards were lost; reports say so."),
        (
            "covfleet combine --follow --build $BUILD_NUMBER --wait 600",
            "Beside the shards, from before there is a plan: when the last one ends, little is left to do.",
        ),
    ),
)
@click.option(
    "--follow",
    "follows",
    is_flag=True,
    help="Merge results as shards deliver them, until none comes any more.",
)
@options.wait
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(min=0),
    default=600.0,
    metavar="SECONDS",
    show_default=True,
    help="With --follow: judge what there is when no shard has given a sign of life for so long.",
)
def command(call: Call, wait_s: float, patience_s: float, *, follows: bool) -> None:
    """Verify every data file of a build against plan and results, then merge them into one .coverage.

    Nothing is deleted, and doing it twice changes nothing. A commit's folder that was filled by other tools,
    without a plan, is combined too: its verdict is "unverified". The result also lies in .covfleet/.coverage.

    With --follow it works beside the shards. Interrupted or killed, and started again, it goes on where it
    was.
    """
    told = click.get_current_context().get_parameter_source("patience_s")
    if told is ParameterSource.COMMANDLINE and not follows:
        raise ConfigurationError("--patience is for --follow", hint="Add --follow, or leave out --patience.")
    session = Session(call)
    if wait_s:
        session.planned(wait_s)
    with session.workdir() as workdir:
        combined = _followed(session, workdir, patience_s) if follows else combine(session, workdir)
        combined.data_file.replace(session.own_folder() / ".coverage")
    click.echo(
        to_json(combined.ledger).decode() if call.as_json else _described(combined.ledger),
        nl=not call.as_json,
    )


def combine(session: Session, workdir: Path) -> Combined:
    """Combine the build that is meant; without any build, the commit's folder."""
    call, keys = session.call, session.commit_keys()
    build = call.build or session.newest_build()
    workers = session.settings.s3.connections
    if build:
        return combine_build(
            session.store, keys.build(build), workdir, allow_partial=call.allow_partial, workers=workers
        )
    checkout = session.checkout
    project = Project(Path(checkout.root), checkout.files, checkout.branch)
    return combine_folder(
        session.store,
        keys,
        workdir,
        project=project,
        allow_partial=call.allow_partial,
        transfers=Transfers(workers),
    )


def _followed(session: Session, workdir: Path, patience_s: float) -> Combined:
    """Combine a build beside its shards."""
    settings, store, keys = session.settings, session.store, session.known_build()
    file = session.own_folder() / "ahead" / keys.commit / keys.build
    with combining_ahead(
        store, keys, workdir, file, workers=settings.s3.connections, narrate=session.narrate
    ) as combination:
        cache = session.own_folder() / "cache"
        with stopping() as stop, Rehearsals(combination, store, cache, session.narrate) as rehearsals:
            watch = Watch(
                reader=StatusReader(store, keys, combination.plan),
                ending=Ending(session.clock, settings.lease_s, patience_s),
                every_s=min(settings.beat_s, _LONGEST_LOOK_S),
                display=make_display(Console(stderr=True)),
                narrate=session.narrate,
                stop=stop,
            )
            try:
                notes = follow(combination, rehearsals, watch)
            except KeyboardInterrupt:
                raise InterruptedRunError(
                    "interrupted", hint="What was merged is kept: the same command goes on from there."
                ) from None
        return combination.finish(allow_partial=session.call.allow_partial, notes=notes)


def _described(ledger: Ledger) -> str:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(ledger.outcomes.items()))
    lines = [
        f"build    {ledger.build or 'none'}",
        f"commit   {ledger.commit}",
        f"verdict  {ledger.verdict}",
        f"tests    {outcomes or 'unknown'}; {ledger.tests_planned} planned",
        f"data     {len(ledger.data_files)} files",
    ]
    return "\n".join([*lines, *ledger.notes])
