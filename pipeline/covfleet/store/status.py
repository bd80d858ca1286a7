"""How far a build is: read from the store, so that it can be watched from anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from covfleet.errors import IncompleteDataError, ObjectNotFoundError
from covfleet.model import Heartbeat, Ledger, Plan, ShardState, Verdict
from covfleet.ports.object_store import ObjectStore
from covfleet.store.builds import builds, read_plan
from covfleet.store.documents import from_json
from covfleet.store.keys import BuildKeys, CommitKeys
from covfleet.store.parallel import for_each

ENDED: frozenset[ShardState] = frozenset({"finished", "stopped", "failed"})


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """A shard's last heartbeat, ``None`` before the first, and how many tests it was dealt."""

    shard: int
    dealt: int
    heartbeat: Heartbeat | None

    @property
    def done(self) -> int:
        """Tests with an outcome."""
        return self.heartbeat.tests_done if self.heartbeat else 0

    @property
    def failed(self) -> int:
        """Tests that failed."""
        return self.heartbeat.tests_failed if self.heartbeat else 0


@dataclass(frozen=True, slots=True)
class BuildStatus:
    """A moment of a build."""

    tests: int
    batches: int
    batches_done: int
    shards: tuple[ShardStatus, ...]

    @property
    def done(self) -> int:
        """Tests with an outcome, over all shards, at most as many as there are."""
        return min(self.tests, sum(shard.done for shard in self.shards))

    @property
    def failed(self) -> int:
        """Tests that failed, over all shards."""
        return sum(shard.failed for shard in self.shards)

    @property
    def complete(self) -> bool:
        """Whether every batch has a result."""
        return self.batches_done >= self.batches


class StatusReader:
    """Reads again and again how far a build is; what hasn't changed meanwhile it doesn't read again."""

    def __init__(self, store: ObjectStore, keys: BuildKeys, plan: Plan) -> None:
        self._store = store
        self._keys = keys
        self._plan = plan
        sizes = {batch.id: len(batch.tests) for batch in plan.batches}
        self._dealt = {k: sum(sizes[batch] for batch in deal) for k, deal in enumerate(plan.deals, 1)}
        self._beats: dict[tuple[str, str], Heartbeat | None] = {}  # by key and etag

    def read(self) -> BuildStatus:
        """Return how far the build is now.

        Raises:
            StoreError: the store failed.
        """
        done = _batches_done(self._store, self._keys, self._plan)
        beats = self._heartbeats()
        shards = tuple(
            ShardStatus(k, self._dealt.get(k, 0), beats.get(k)) for k in sorted(self._dealt.keys() | beats)
        )
        return BuildStatus(len(self._plan.tests), len(self._plan.batches), done, shards)

    def _heartbeats(self) -> dict[int, Heartbeat]:
        there = [(info.key, info.etag) for info in self._store.list(self._keys.shards)]
        self._beats = {name: self._beats.get(name) or self._heartbeat(name[0]) for name in there}
        return {beat.shard: beat for beat in self._beats.values() if beat}

    def _heartbeat(self, key: str) -> Heartbeat | None:
        """Return a heartbeat; one that can't be read is no sign of life, and the next one may be."""
        try:
            return _heartbeat(self._store, key)
        except IncompleteDataError:
            return None


def read_status(store: ObjectStore, keys: BuildKeys, plan: Plan) -> BuildStatus:
    """Return how far the build is now."""
    return StatusReader(store, keys, plan).read()


@dataclass(frozen=True, slots=True)
class BuildSummary:
    """A line in the list of a commit's builds. Without ``damage``, ``created_at`` is the plan's."""

    build: str
    created_at: str = ""  # ISO 8601, UTC, by the clock of the machine that planned
    branch: str = ""
    batches: int = 0
    batches_done: int = 0
    open_shards: tuple[int, ...] = ()  # began and never said that they ended: at work, or gone
    verdict: Verdict | None = None  # of the last time that it was combined; None: never
    damage: str = ""  # what is wrong with its plan or ledger; empty: nothing

    @property
    def complete(self) -> bool:
        """Whether every batch has a result; what the results hold is still to be checked."""
        return bool(self.created_at) and self.batches_done >= self.batches


def list_builds(store: ObjectStore, keys: CommitKeys, *, workers: int) -> tuple[BuildSummary, ...]:
    """Return all planned builds of a commit, by their plans' clocks: newest first, unreadable ones last.

    Raises:
        StoreError: the store failed. A damaged document is no error: its build's line says so.
    """
    found = for_each(lambda name: _summary(store, keys.build(name)), builds(store, keys), workers=workers)
    return tuple(sorted(found, key=_age, reverse=True))


def _age(summary: BuildSummary) -> tuple[bool, float, str]:
    when = datetime.fromisoformat(summary.created_at).timestamp() if summary.created_at else 0.0
    return bool(summary.created_at), when, summary.build


def _summary(store: ObjectStore, keys: BuildKeys) -> BuildSummary:
    try:
        plan = read_plan(store, keys)
        datetime.fromisoformat(plan.created_at)
        beats = [_heartbeat(store, info.key) for info in store.list(keys.shards)]
    except (IncompleteDataError, ValueError) as error:
        return BuildSummary(keys.build, damage=str(error))
    verdict, damage = _verdict(store, keys)
    return BuildSummary(
        build=keys.build,
        created_at=plan.created_at,
        branch=plan.branch,
        batches=len(plan.batches),
        batches_done=_batches_done(store, keys, plan),
        open_shards=tuple(sorted(beat.shard for beat in beats if beat and beat.state not in ENDED)),
        verdict=verdict,
        damage=damage,
    )


def _verdict(store: ObjectStore, keys: BuildKeys) -> tuple[Verdict | None, str]:
    try:
        return from_json(Ledger, store.get(keys.ledger).data, name=keys.ledger).verdict, ""
    except ObjectNotFoundError:
        return None, ""
    except IncompleteDataError as error:  # combining writes it anew
        return None, str(error)


def _batches_done(store: ObjectStore, keys: BuildKeys, plan: Plan) -> int:
    planned = {keys.result(batch.id) for batch in plan.batches}
    return sum(info.key in planned for info in store.list(keys.results))


def _heartbeat(store: ObjectStore, key: str) -> Heartbeat | None:
    try:
        return from_json(Heartbeat, store.get(key).data, name=key)
    except ObjectNotFoundError:
        return None
