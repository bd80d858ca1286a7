"""``covfleet recombine COMMIT``: combine by hand, on any machine that can read the store."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import click

from covfleet.adapters.folder.atomic import replacing
from covfleet.adapters.folder.overlay import OverlayStore
from covfleet.adapters.folder.store import LocalStore
from covfleet.byhand.builds import BuildSummary, choose, list_builds
from covfleet.byhand.recombine import Recombined, RecombineRequest, recombine
from covfleet.byhand.table import table
from covfleet.commands.common import figures, options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session
from covfleet.errors import ConfigurationError
from covfleet.model import floor_percent
from covfleet.ports.object_store import ObjectStore
from covfleet.store.commit import StoredCommit
from covfleet.store.encoding import to_json
from covfleet.text import counted

_LEDGER = "ledger.json"


@options.command(
    "recombine",
    "build",
    "site",
    "allow_partial",
    "as_json",
    examples=(
        ("covfleet recombine $SHA --store s3://bucket/coverage", "The commit's newest complete build."),
        (
            "covfleet recombine $SHA --build 17 --site s3://coverage-site",
            "A specific build, and publish it.",
        ),
        (
            "covfleet recombine $SHA --output results",
            "With read access to the store only: the results go to a folder.",
        ),
    ),
)
@click.argument("commit", metavar="COMMIT")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path, resolve_path=True),
    metavar="DIR",
    help="Write .coverage, ledger.json and reports/ to this folder, and nothing to the store.",
)
def command(call: Call, output: Path | None) -> None:
    """Combine, report and publish an earlier build of COMMIT. No checkout is needed.

    It takes the newest complete build unless --build names one, verifies every data file again, and publishes
    if a site is set. Running it twice changes nothing.
    """
    session = Session(call)
    settings = session.settings
    if output:
        _check_own(output)
    with tempfile.TemporaryDirectory(prefix="covfleet-") as temporary:
        workdir = Path(temporary)
        commit = session.commit(session.open_to_read())
        summaries = list_builds(commit, workers=settings.s3.connections)
        chosen = choose(commit, summaries, call.build)
        session.narrate(table(summaries, chosen.build))
        request = RecombineRequest(
            build=StoredCommit(_written_to(commit.store, workdir, output), commit.keys).build(chosen.build),
            summary=chosen,
            workdir=workdir,
            reports=output / "reports" if output else None,
            site=session.open(settings.publish.site) if settings.publish.site else None,
            allow_partial=call.allow_partial,
            workers=settings.s3.connections,
            silence_s=settings.lease_s,
            clock=session.clock,
            narrate=session.narrate,
        )
        session.narrate(_announced(chosen, call.build))
        done = recombine(request)
        if output:
            _keep(done, output)
    if call.as_json:
        click.echo(_as_json(done, output))
    else:
        click.echo("\n".join(_described(done, commit.store, output)))


def _written_to(store: ObjectStore, workdir: Path, output: Path | None) -> ObjectStore:
    """Return the store; with ``output``, lay a folder over it that takes all writes."""
    return OverlayStore(store, LocalStore(workdir / "above")) if output else store


def _announced(chosen: BuildSummary, wanted: str | None) -> str:
    if wanted:
        return f"using build {chosen.build}, as --build says"
    which = "the newest complete one" if chosen.complete else "the newest one, as none is complete"
    return f"using build {chosen.build}, {which}"


def _keep(done: Recombined, output: Path) -> None:
    """Write the combined data and the ledger to the folder; the reports are already there."""
    with replacing(output / ".coverage") as part:
        shutil.copyfile(done.data_file, part)
    with replacing(output / _LEDGER) as part:
        part.write_bytes(to_json(done.ledger))


def _check_own(output: Path) -> None:
    """Refuse a folder with a .coverage of other origin; the report's writer checks the reports' folder."""
    if (output / ".coverage").exists() and not (output / _LEDGER).exists():
        raise ConfigurationError(
            f"{output} contains a .coverage that `covfleet recombine` didn't write",
            hint="Name a new folder, an empty one, or the --output of an earlier call.",
        )


def _described(done: Recombined, store: ObjectStore, output: Path | None) -> list[str]:
    ledger, where = done.ledger, output / "reports" if output else store.url
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(ledger.outcomes.items()))
    data = counted(len(ledger.data_files), "data file")
    total = f"{floor_percent(done.totals.total)}%"
    lines = [
        f"build      {done.build} of commit {ledger.commit}",
        f"tests      {outcomes or 'none ran'}; {ledger.tests_planned} planned",
        f"combined   {data}, {ledger.verdict}{_news(done.data_changed, output)}",
        f"reported   {total} covered, in {where}{_news(done.reports_changed, output)}",
        f"published  {done.site or 'no: no site is set'}",
    ]
    if output:
        lines.append("store      unchanged, as --output was given")
    return [*lines, *ledger.notes]


def _news(changed: bool, output: Path | None) -> str:  # noqa: FBT001 - two different facts, not a mode
    return "" if changed or output else "; unchanged"


def _as_json(done: Recombined, output: Path | None) -> str:
    return figures.to_text(
        done.totals,
        done.ledger,
        output=str(output or ""),
        site=done.site,
        data_changed=done.data_changed,
        reports_changed=done.reports_changed,
    )
