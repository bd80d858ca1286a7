"""Find the covfleet build of a Jenkins build in the store, by the name that the Jenkins build gave it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from covfleet.errors import IncompleteDataError, PipelineError
from covfleet.model import Ledger, Plan, ReportManifest
from covfleet.ports.clock import Clock
from covfleet.ports.controller import Build
from covfleet.ports.narration import Narrate
from covfleet.ports.object_store import ObjectStore
from covfleet.store.build import StoredBuild
from covfleet.store.commit import StoredCommit
from covfleet.store.keys import CommitKeys
from covfleet.store.status import BuildStatus, read_status

_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_COSTS_AT_MOST = 0.2  # of the time, however many shards there are
_AT_LEAST_S = 1.0


def commit_of(build: Build) -> str:
    """Return the commit of a build as Jenkins reports it; it may be empty before the checkout."""
    asked = build.parameters.get("COMMIT", "")
    return build.commit or (asked if _COMMIT.fullmatch(asked) else "")


def names(build: Build) -> Iterator[str]:
    """Yield the names that the generated Jenkinsfile and multi-job give a build in the store."""
    tag = re.sub(r"[^0-9A-Za-z_]+", "-", f"jenkins-{build.job}-{build.number}")
    yield f"jenkins-{tag[-90:]}" if len(tag) > 100 else tag
    yield f"jenkins-{build.job.rpartition('/')[2]}-{build.number}"


def build_of(store: ObjectStore, build: Build) -> StoredBuild | None:
    """Return the covfleet build of a Jenkins build, or ``None`` before it is planned.

    A forced re-plan appends a number to the name; the newest one counts.
    """
    if not (commit := commit_of(build)):
        return None
    stored_commit = StoredCommit(store, CommitKeys(commit))
    planned = stored_commit.planned()
    for name in names(build):
        pattern = re.compile(rf"{re.escape(name)}(-\d{{13}})?")
        if matching := [each for each in planned if pattern.fullmatch(each)]:
            return stored_commit.build(max(matching))
    return None


@dataclass(frozen=True, slots=True)
class Stored:
    """A build's documents in the store: the ledger once it is combined, the manifest if it matches."""

    ledger: Ledger | None = None
    manifest: ReportManifest | None = None


def stored(store: ObjectStore, build: Build) -> Stored:
    """Return the documents of a build in the store."""
    if (ours := build_of(store, build)) is None:
        return Stored()
    try:
        ledger = ours.find_ledger()
    except IncompleteDataError:
        return Stored()
    try:
        return Stored(ledger, ours.reported()[0])
    except IncompleteDataError:
        return Stored(ledger)


class Watched:
    """The progress of one build's shards. An unreadable store is reported once and not read again."""

    def __init__(self, store: ObjectStore, clock: Clock, say: Narrate) -> None:
        self._store = store
        self._clock = clock
        self._say = say
        self._plan: tuple[StoredBuild, Plan] | None = None
        self._last: BuildStatus | None = None
        self._next_s = 0.0
        self._off = False

    def status(self, build: Build) -> BuildStatus | None:
        """Return the progress of the shards, or ``None`` while it is unknown."""
        began = self._clock.monotonic()
        if self._off or began < self._next_s:
            return self._last
        try:
            self._last = self._read(build)
        except PipelineError as error:
            self._off = True
            self._say(f"can't read the progress of the shards: {error}")
        ended = self._clock.monotonic()
        self._next_s = ended + max((ended - began) / _COSTS_AT_MOST, _AT_LEAST_S)
        return self._last

    def _read(self, build: Build) -> BuildStatus | None:
        if self._plan is None:
            if (ours := build_of(self._store, build)) is None:
                return None
            self._plan = ours, ours.plan()
        return read_status(*self._plan)
