"""How far a build is: read from the store, so that it can be watched from anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import ObjectNotFoundError
from pipeline.keys import BuildKeys
from pipeline.model import Heartbeat, Plan, from_json
from pipeline.ports import ObjectStore


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


def read_status(store: ObjectStore, keys: BuildKeys, plan: Plan) -> BuildStatus:
    """Return how far the build is now."""
    planned = {keys.result(batch.id) for batch in plan.batches}
    done = sum(info.key in planned for info in store.list(keys.results))
    sizes = {batch.id: len(batch.tests) for batch in plan.batches}
    shards = tuple(
        ShardStatus(k, sum(sizes[batch] for batch in deal), _heartbeat(store, keys.shard(k)))
        for k, deal in enumerate(plan.deals, 1)
    )
    return BuildStatus(len(plan.tests), len(plan.batches), done, shards)


def _heartbeat(store: ObjectStore, key: str) -> Heartbeat | None:
    try:
        return from_json(Heartbeat, store.get(key).data, name=key)
    except ObjectNotFoundError:
        return None
