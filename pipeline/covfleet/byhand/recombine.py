"""Combine a commit's build by hand, on any machine that can read the store, even days later.

It makes sure that no shard is still working on the build, then runs the final stages: combine, report,
publish. Running it again verifies everything again and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from covfleet.byhand.builds import BuildSummary
from covfleet.combine.build import combine_build
from covfleet.errors import IncompleteDataError, StoreError
from covfleet.model import Ledger, Totals
from covfleet.ports.clock import Clock
from covfleet.ports.narration import Narrate
from covfleet.ports.object_store import ObjectStore
from covfleet.publish.stage import publish_build
from covfleet.report.stage import ReportFolders, report_build
from covfleet.store.build import StoredBuild
from covfleet.store.transfer import probe_write
from covfleet.text import counted, listed

_LONG_AGO = timedelta(days=1)  # no two clocks differ by this much; a shard silent for this long is dead
_LOOK_EVERY_S = 1.0
_NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class RecombineRequest:
    """A build to combine again, the tools, and the destination of the results."""

    build: StoredBuild
    summary: BuildSummary  # of the build
    workdir: Path  # an existing folder with room for all data of a build
    reports: Path | None  # a folder for the reports if nothing may be written to the store
    site: ObjectStore | None  # None: don't publish
    allow_partial: bool
    workers: int  # parallel transfers
    silence_s: float  # a shard without a heartbeat for this long is dead
    clock: Clock
    narrate: Narrate


@dataclass(frozen=True, slots=True)
class Recombined:
    """The outcome. The ``…_changed`` attributes say whether the stored content differs from before."""

    build: str
    ledger: Ledger
    totals: Totals
    data_file: Path  # the combined .coverage
    data_changed: bool
    reports_changed: bool
    site: str  # where the HTML report was published; empty if it wasn't


def recombine(request: RecombineRequest) -> Recombined:
    """Combine, report and publish an earlier build.

    Raises:
        IncompleteDataError: shards are still working or batches are missing (both unless ``allow_partial``),
            or data is damaged or contradicts other data.
        StoreError: the store or the site failed or isn't writable.
    """
    build, workers = request.build, request.workers
    _check_ended(request)
    if request.reports is None:
        _check_writable(build.store)
    before = _combined_before(build)
    combined = combine_build(
        build, request.workdir / "combine", allow_partial=request.allow_partial, workers=workers
    )
    ledger = combined.ledger
    totals, reports_changed = _report(request)
    address = ""
    if request.site is not None:
        address = publish_build(
            build,
            request.site,
            branch=ledger.branch,
            workers=workers,
            allow_partial=request.allow_partial,
        )
    after = ledger.combined.sha256 if ledger.combined else ""
    return Recombined(
        build.name, ledger, totals, combined.data_file, before != after, reports_changed, address
    )


def _check_ended(request: RecombineRequest) -> None:
    """Refuse a build with working shards or missing batches, unless partial data is allowed."""
    summary, name = request.summary, request.build.name
    if not summary.created_at:
        raise IncompleteDataError(
            f"build {name} can't be read: {summary.damage}",
            hint="Without its plan nothing about it can be verified: use another build, or start a new one.",
        )
    at_work = _at_work(request) if summary.open_shards else ()
    progress = f"{summary.batches_done} of {counted(summary.batches, 'batch')} done"
    if at_work and not request.allow_partial:
        raise IncompleteDataError(
            f"build {name} is still running: {progress}, {_shards(at_work)} working",
            hint="Run this again when it has ended, or use --allow-partial to combine what has arrived.",
        )
    if summary.complete or request.allow_partial:
        return
    raise IncompleteDataError(
        f"build {name} is incomplete, and no shard is working: {progress}\n" + _missing(request.build),
        hint="Run the rest with `covfleet shard K` and the build's --commit and --build on any agent, then "
        "run this again; or use --allow-partial to combine what has arrived.",
    )


def _at_work(request: RecombineRequest) -> tuple[int, ...]:
    """Return the shards with a new heartbeat; wait for one up to ``silence_s`` seconds.

    Clocks of machines differ, so a heartbeat's age proves nothing: only a shard that beats while we watch is
    alive for certain.
    """
    clock, first = request.clock, _beats(request)
    began = clock.monotonic()
    if first:
        request.narrate(f"checking for up to {request.silence_s:g} s whether a shard is still working")
    while first and clock.monotonic() - began < request.silence_s:
        clock.sleep(min(_LOOK_EVERY_S, request.silence_s))
        now = _beats(request)
        if moved := sorted(shard for shard, etag in now.items() if first.get(shard) != etag):
            return tuple(moved)
    return ()


def _beats(request: RecombineRequest) -> dict[int, str]:
    """Return the etags of the heartbeats whose shards may be alive, by shard."""
    recent = request.clock.now() - _LONG_AGO
    return {shard: info.etag for shard, info in request.build.beats().items() if info.modified > recent}


def _missing(build: StoredBuild) -> str:
    """Name the first few batches without a result, with their numbers of tests, one per line."""
    plan, finished = build.plan(), build.finished()
    dealt = {batch: shard for shard, deal in enumerate(plan.deals, start=1) for batch in deal}
    lost = [batch for batch in plan.batches if batch.id not in finished]
    lines = [
        f"  missing: batch {batch.id}, {counted(len(batch.tests), 'test')}, "
        f"dealt to shard {dealt.get(batch.id, '?')}"
        for batch in lost[:_NAMES_SHOWN]
    ]
    if len(lost) > _NAMES_SHOWN:
        lines.append(f"  and {len(lost) - _NAMES_SHOWN} more")
    return "\n".join(lines)


def _shards(shards: Sequence[int]) -> str:
    return f"shard{'s' if len(shards) > 1 else ''} {listed(shards, _NAMES_SHOWN)}"


def _check_writable(store: ObjectStore) -> None:
    """Fail before minutes of work rather than after them."""
    try:
        probe_write(store)
    except StoreError as error:
        raise StoreError(
            str(error), hint=f"{error.hint} Or write the results to a folder with --output DIR.".lstrip()
        ) from error


def _combined_before(build: StoredBuild) -> str:
    """Return the SHA-256 of the build's earlier combined data; empty if it wasn't combined."""
    try:
        ledger = build.find_ledger()
    except IncompleteDataError:
        return ""
    return ledger.combined.sha256 if ledger and ledger.combined else ""


def _report(request: RecombineRequest) -> tuple[Totals, bool]:
    """Write the reports unless the store has those of this data; return totals and whether it wrote.

    Reports contain the time of their creation, so writing them again would change them.
    """
    build = request.build
    try:
        manifest, _ = build.reported()
    except IncompleteDataError:
        manifest = None
    if manifest and not request.reports:
        there = build.report_sizes()
        if all(there.get(file.path) == file.size_bytes for file in manifest.files):
            return manifest.totals, False
    out = request.reports or request.workdir / "reports"
    totals, _ = report_build(
        build, ReportFolders(request.workdir, out), workers=request.workers, narrate=request.narrate
    )
    return totals, True
