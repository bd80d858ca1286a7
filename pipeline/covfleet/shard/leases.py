"""Who has which batch: claims, and how a claim is lost.

A claim is a conditional put, so two shards can't both have a batch. It holds as long as its shard gives signs
of life: an observer that has seen the same heartbeat for ``lease_s`` seconds of *its own* clock may take the
claim over, with a conditional put on the claim that it saw. No two machines' clocks are ever compared.

A batch that runs twice all the same (its shard was cut off and came back) does no harm: results are
conditional puts too, and the first one stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from covfleet.model import Batch, Claim, Heartbeat, Plan
from covfleet.ports.clock import Clock
from covfleet.store.build import StoredBuild

_GONE = frozenset({"finished", "stopped", "failed"})


@dataclass(frozen=True, slots=True)
class _Sighting:
    token: str
    beat: int
    since: float  # our monotonic clock


class Silence:
    """Watches other shards' heartbeats and says which attempts have fallen silent."""

    def __init__(self, clock: Clock, lease_s: float) -> None:
        self._clock = clock
        self._lease_s = lease_s
        self._seen: dict[int, _Sighting] = {}

    def lost(self, claim: Claim, heartbeat: Heartbeat | None) -> bool:
        """Say whether a claim's holder is gone, given its shard's heartbeat as it is now.

        At once when the shard has ended or another attempt has taken its place, else when nothing has
        changed for a lease.
        """
        token, beat = (heartbeat.token, heartbeat.beat) if heartbeat else ("", 0)
        if heartbeat and (heartbeat.token != claim.token or heartbeat.state in _GONE):
            return True
        seen = self._seen.get(claim.shard)
        now = self._clock.monotonic()
        if seen is None or (seen.token, seen.beat) != (token, beat):
            self._seen[claim.shard] = _Sighting(token, beat, now)
            return False
        return now - seen.since >= self._lease_s


class Leases:
    """The claims that one attempt at a shard makes."""

    def __init__(self, build: StoredBuild, shard: int, token: str, silence: Silence) -> None:
        self._build = build
        self._shard = shard
        self._token = token
        self._silence = silence

    def claim(self, batch: str) -> bool:
        """Take a batch that nobody has; say whether it is ours."""
        return self._build.claim(Claim(batch, self._shard, self._token))

    def take_over(self, batch: str) -> bool:
        """Take a batch whose holder is gone; say whether it is ours."""
        held = self._build.held_claim(batch)
        claim = held.value
        if claim.token == self._token:
            return False  # another of our own worker processes has it
        heartbeat = self._build.find_heartbeat(claim.shard)
        if not self._silence.lost(claim, heartbeat.value if heartbeat else None):
            return False
        return self._build.take_over(held, Claim(batch, self._shard, self._token, takes_over=claim.token))


def own_deal(plan: Plan, shard: int) -> tuple[str, ...]:
    """Return the batches that a shard starts with, in order; none for a shard beyond the plan's."""
    return plan.deals[shard - 1] if shard <= plan.shards else ()


def steal_order(plan: Plan, unclaimed: Iterable[str]) -> tuple[str, ...]:
    """Return batches to take from others: from the tail of the deal with most work left, again and again."""
    batches: Mapping[str, Batch] = {batch.id: batch for batch in plan.batches}
    wanted = set(unclaimed)
    deals = [[batch for batch in deal if batch in wanted] for deal in plan.deals]
    left = [sum(batches[batch].expected_s for batch in deal) for deal in deals]
    order: list[str] = []
    while any(deals):
        richest = max((k for k, deal in enumerate(deals) if deal), key=lambda k: (left[k], len(deals[k]), -k))
        batch = deals[richest].pop()
        left[richest] -= batches[batch].expected_s
        order.append(batch)
    return tuple(order)
