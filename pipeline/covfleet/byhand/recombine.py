"""The combiner by hand: for a commit, on any machine that can read the store, days after its build.

Finds the build that is meant, makes sure that nobody works on it any more, and then goes the end of the
data's way: combine, report, publish. A second time it verifies everything again, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from covfleet.combine.build import combine_build
from covfleet.errors import ConfigurationError, IncompleteDataError, ObjectNotFoundError, StoreError
from covfleet.model import Ledger, Totals
from covfleet.ports.clock import Clock
from covfleet.ports.narration import Narrate
from covfleet.ports.object_store import ObjectStore
from covfleet.publish.stage import publish_build
from covfleet.report.stage import Places, report_build
from covfleet.store.builds import read_plan
from covfleet.store.documents import from_json
from covfleet.store.keys import BuildKeys, CommitKeys
from covfleet.store.reported import read_reported
from covfleet.store.status import BuildSummary
from covfleet.store.transfer import probe_write
from covfleet.text import counted

_LONG_AGO = timedelta(days=1)  # no two clocks differ by so much; who was silent for so long is gone
_LOOK_EVERY_S = 1.0
_NAMES_SHOWN = 10
_SHORTEST_ABBREVIATION = 7


@dataclass(frozen=True, slots=True)
class Request:
    """What to combine again, with which tools, and where to."""

    store: ObjectStore
    commit: CommitKeys
    build: BuildSummary
    workdir: Path  # an existing folder, with room for all data of a build
    reports: Path | None  # a folder for the reports, if the store may not be written to
    site: ObjectStore | None  # None: nothing is published
    allow_partial: bool
    workers: int  # parallel transfers
    silence_s: float  # who gives no sign of life for so long is gone
    clock: Clock
    narrate: Narrate


@dataclass(frozen=True, slots=True)
class Recombined:
    """What was done. The ``…_changed`` say whether the store holds anything else than before."""

    build: str
    ledger: Ledger
    totals: Totals
    data_file: Path  # the combined .coverage
    data_changed: bool
    reports_changed: bool
    site: str  # where the HTML report was published; empty if it wasn't


def recombine(request: Request) -> Recombined:
    """Combine, report and publish a build that was planned and run before.

    Raises:
        IncompleteDataError: shards are still at work, batches are missing (both unless ``allow_partial``), or
            data is damaged or contradicts other data.
        StoreError: the store or the site failed, or may not be written to.
    """
    store, workers = request.store, request.workers
    keys = request.commit.build(request.build.build)
    _check_ended(request, keys)
    if request.reports is None:
        _check_writable(store)
    before = _combined_before(store, keys)
    combined = combine_build(
        store, keys, request.workdir / "combine", allow_partial=request.allow_partial, workers=workers
    )
    ledger = combined.ledger
    totals, reports_changed = _report(request, keys)
    address = ""
    if request.site is not None:
        address = publish_build(
            store,
            keys,
            request.site,
            branch=ledger.branch,
            workers=workers,
            allow_partial=request.allow_partial,
        )
    after = ledger.combined.sha256 if ledger.combined else ""
    return Recombined(
        keys.build, ledger, totals, combined.data_file, before != after, reports_changed, address
    )


def choose(
    store: ObjectStore, commit: CommitKeys, summaries: Sequence[BuildSummary], wanted: str | None
) -> BuildSummary:
    """Return the build that is wanted; else the newest complete one, or the newest if none is complete.

    Args:
        store: where they lie, for the messages.
        commit: whose builds they are.
        summaries: the commit's builds, newest first.
        wanted: a build's id.

    Raises:
        ConfigurationError: there is no such build, or none at all.
    """
    if not summaries:
        raise no_build(store, commit)
    if wanted is None:
        return next((summary for summary in summaries if summary.complete), summaries[0])
    for summary in summaries:
        if summary.build == wanted:
            return summary
    raise ConfigurationError(
        f"{store.url} has no build {wanted} of commit {commit.commit}",
        hint=f"Its builds of this commit: {', '.join(summary.build for summary in summaries)}.",
    )


def _check_ended(request: Request, keys: BuildKeys) -> None:
    """Refuse a build that shards still work on, or that lacks batches and may not."""
    summary = request.build
    if not summary.created_at:
        raise IncompleteDataError(
            f"build {keys.build} can't be read: {summary.damage}",
            hint="Nothing of it can be proved without its plan: take another build, or start a new one.",
        )
    at_work = _at_work(request, keys) if summary.open_shards else ()
    progress = f"{summary.batches_done} of {summary.batches} batches have a result"
    if at_work and not request.allow_partial:
        raise IncompleteDataError(
            f"build {keys.build} is still running: {progress}, {_shards(at_work)} at work",
            hint="Wait for it, and run this again; or take what there is with --allow-partial.",
        )
    if summary.complete or request.allow_partial:
        return
    raise IncompleteDataError(
        f"build {keys.build} is not complete, and no shard is at work: {progress}\n"
        + _missing(request.store, keys),
        hint="Run the rest with `covfleet shard K` and the build's --commit and --build on any agent, then "
        "this again; or take what there is with --allow-partial.",
    )


def _at_work(request: Request, keys: BuildKeys) -> tuple[int, ...]:
    """Return the shards that give a sign of life; waits until one does, at most ``silence_s`` seconds.

    Clocks of machines differ, so one moment tells nothing: only who beats while we look is known to live.
    """
    clock, first = request.clock, _beats(request, keys)
    began = clock.monotonic()
    if first:
        request.narrate(f"looking up to {request.silence_s:g} s whether a shard is still at work")
    while first and clock.monotonic() - began < request.silence_s:
        clock.sleep(min(_LOOK_EVERY_S, request.silence_s))
        now = _beats(request, keys)
        if moved := sorted(shard for shard, etag in now.items() if first.get(shard) != etag):
            return tuple(moved)
    return ()


def _beats(request: Request, keys: BuildKeys) -> dict[int, str]:
    """Return the etags of the heartbeats that may be of live shards, by shard."""
    recent = request.clock.now() - _LONG_AGO
    names = (
        (info.key.removeprefix(keys.shards).removesuffix(".json"), info)
        for info in request.store.list(keys.shards)
    )
    return {int(name): info.etag for name, info in names if name.isdecimal() and info.modified > recent}


def _missing(store: ObjectStore, keys: BuildKeys) -> str:
    """Name the batches without a result and how many tests they have, a line each, the first few."""
    plan = read_plan(store, keys)
    present = {info.key for info in store.list(keys.results)}
    dealt = {batch: shard for shard, deal in enumerate(plan.deals, start=1) for batch in deal}
    lost = [batch for batch in plan.batches if keys.result(batch.id) not in present]
    lines = [
        f"  missing: batch {batch.id}, {counted(len(batch.tests), 'test')}, "
        f"dealt to shard {dealt.get(batch.id, '?')}"
        for batch in lost[:_NAMES_SHOWN]
    ]
    if len(lost) > _NAMES_SHOWN:
        lines.append(f"  and {len(lost) - _NAMES_SHOWN} more")
    return "\n".join(lines)


def _shards(shards: Sequence[int]) -> str:
    shown = ", ".join(str(shard) for shard in shards[:_NAMES_SHOWN])
    more = f" and {len(shards) - _NAMES_SHOWN} more" if len(shards) > _NAMES_SHOWN else ""
    return f"shard{'s' if len(shards) > 1 else ''} {shown}{more}"


def _check_writable(store: ObjectStore) -> None:
    """Find out before minutes of work, not after."""
    try:
        probe_write(store)
    except StoreError as error:
        raise StoreError(
            str(error), hint=f"{error.hint} Or keep the results in a folder, with --output DIR.".lstrip()
        ) from error


def _combined_before(store: ObjectStore, keys: BuildKeys) -> str:
    """Return the hash of what the build was combined to before; empty if it wasn't."""
    try:
        ledger = from_json(Ledger, store.get(keys.ledger).data, name=keys.ledger)
    except (ObjectNotFoundError, IncompleteDataError):
        return ""
    return ledger.combined.sha256 if ledger.combined else ""


def _report(request: Request, keys: BuildKeys) -> tuple[Totals, bool]:
    """Make the reports if the store has none of this data, or if they are wanted here; say if they changed.

    They carry the time at which they were made, so making them again would change them.
    """
    store = request.store
    try:
        manifest, _ = read_reported(store, keys)
    except IncompleteDataError:
        manifest = None
    if manifest and not request.reports:
        there = {info.key: info.size_bytes for info in store.list(keys.reports)}
        if all(there.get(keys.report(file.path)) == file.size_bytes for file in manifest.files):
            return manifest.totals, False
    out = request.reports or request.workdir / "reports"
    totals, _ = report_build(
        store, keys, Places(request.workdir, out), workers=request.workers, narrate=request.narrate
    )
    return totals, True


def no_build(store: ObjectStore, commit: CommitKeys) -> ConfigurationError:
    """Return the error that says what there is instead: data without a plan, or commits of a longer name."""
    message = f"{store.url} has no build of commit {commit.commit}"
    if next(iter(store.list(commit.data_prefix)), None):
        return ConfigurationError(
            f"{message}, only data files that other tools put there",
            hint="Without a plan the sources are needed: run covfleet combine in a checkout of that commit.",
        )
    if len(commit.commit) >= _SHORTEST_ABBREVIATION:
        longer = sorted({info.key.partition("/")[0] for info in store.list(commit.commit)} - {commit.commit})
        if longer:
            return ConfigurationError(message, hint=f"Perhaps you meant {', '.join(longer[:_NAMES_SHOWN])}.")
    return ConfigurationError(
        message,
        hint="Give the commit's whole name as the build had it, and check --store and --endpoint-url.",
    )
