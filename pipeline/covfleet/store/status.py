"""The progress of a build, read from the store, so that any machine can follow it."""

from __future__ import annotations

from dataclasses import dataclass

from covfleet.errors import IncompleteDataError
from covfleet.model import Heartbeat, Plan, ShardState
from covfleet.store.build import StoredBuild

ENDED: frozenset[ShardState] = frozenset({"finished", "stopped", "failed"})


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """A shard's last heartbeat, ``None`` before the first, and the number of tests dealt to it."""

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
    """The progress of a build at one moment."""

    tests: int
    batches: int
    batches_done: int
    shards: tuple[ShardStatus, ...]

    @property
    def done(self) -> int:
        """Tests with an outcome, over all shards, capped at the number of tests."""
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
    """Reads a build's progress repeatedly; heartbeats that haven't changed aren't read again."""

    def __init__(self, build: StoredBuild, plan: Plan) -> None:
        self._build = build
        self._plan = plan
        sizes = {batch.id: len(batch.tests) for batch in plan.batches}
        self._dealt = {k: sum(sizes[batch] for batch in deal) for k, deal in enumerate(plan.deals, 1)}
        self._beats: dict[tuple[int, str], Heartbeat | None] = {}  # by shard and etag

    def read(self) -> BuildStatus:
        """Return the build's progress now.

        Raises:
            StoreError: the store failed.
        """
        done = batches_done(self._build, self._plan)
        beats = self._heartbeats()
        shards = tuple(
            ShardStatus(k, self._dealt.get(k, 0), beats.get(k)) for k in sorted(self._dealt.keys() | beats)
        )
        return BuildStatus(len(self._plan.tests), len(self._plan.batches), done, shards)

    def _heartbeats(self) -> dict[int, Heartbeat]:
        there = [(shard, info.etag) for shard, info in self._build.beats().items()]
        self._beats = {seen: self._beats.get(seen) or self._heartbeat(seen[0]) for seen in there}
        return {beat.shard: beat for beat in self._beats.values() if beat}

    def _heartbeat(self, shard: int) -> Heartbeat | None:
        """Return a heartbeat; an unreadable one counts as none, and the next one may be readable."""
        try:
            held = self._build.find_heartbeat(shard)
        except IncompleteDataError:
            return None
        return held.value if held else None


def read_status(build: StoredBuild, plan: Plan) -> BuildStatus:
    """Return the build's progress now."""
    return StatusReader(build, plan).read()


def batches_done(build: StoredBuild, plan: Plan) -> int:
    """Return the number of planned batches that have a result."""
    return len(build.finished() & {batch.id for batch in plan.batches})
