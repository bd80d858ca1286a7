"""The latest builds of a job, with data from Jenkins and, if it can be read, from the store."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from covfleet.errors import PipelineError
from covfleet.jenkins.stored import Stored, commit_of, stored
from covfleet.model import Verdict, floor_percent
from covfleet.ports.controller import Build, Controller
from covfleet.ports.narration import Narrate
from covfleet.ports.object_store import ObjectStore
from covfleet.store.parallel import for_each


@dataclass(frozen=True, slots=True)
class BuildRow:
    """A build in a table; unknown values are empty or ``None``.

    ``result`` is Jenkins' own, or ``RUNNING``; ``coverage`` is in percent, rounded down.
    """

    number: int
    result: str
    verdict: Verdict | None
    coverage: Decimal | None
    duration_s: float
    shards: int | None
    commit: str
    branch: str
    started_at: str  # ISO 8601, UTC, by the controller's clock
    request: str
    url: str


def last_builds(
    controller: Controller, store: ObjectStore, job: str, limit: int, say: Narrate
) -> tuple[BuildRow, ...]:
    """Return the newest builds of a job, newest first.

    Raises:
        JenkinsError: the controller can't list them. An unreadable store is only reported.
    """
    builds = controller.builds(job, limit)
    try:
        found = for_each(lambda build: stored(store, build), builds, workers=8)
    except PipelineError as error:
        say(f"can't show verdict and coverage: {error}")
        found = [Stored()] * len(builds)
    return tuple(map(_row, builds, found))


def _row(build: Build, left: Stored) -> BuildRow:
    ledger, manifest = left.ledger, left.manifest
    return BuildRow(
        number=build.number,
        result="RUNNING" if build.building else build.result,
        verdict=ledger.verdict if ledger else None,
        coverage=floor_percent(manifest.totals.total) if manifest else None,
        duration_s=build.duration_s,
        shards=_shards(build) or (len(ledger.shares) if ledger else None),
        commit=commit_of(build) or build.parameters.get("COMMIT", ""),
        branch=(ledger.branch if ledger else "") or build.branch,
        started_at=build.started_at.isoformat(timespec="seconds"),
        request=build.parameters.get("REQUEST_ID", ""),
        url=build.url,
    )


def _shards(build: Build) -> int | None:
    given = build.parameters.get("SHARDS", "")
    children = {sub.alias for sub in build.sub_builds if sub.phase == "shards"}
    return int(given) if given.isdecimal() else len(children) or None
