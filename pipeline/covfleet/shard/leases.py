"""Claims on batches, and how shards lose them.

A claim is a conditional put, so two shards can't both have a batch. It is valid as long as its shard sends
heartbeats: an observer that has seen the same heartbeat for ``lease_s`` seconds of *its own* clock may take
the claim over, with a conditional put on the claim that it saw. Clocks of different machines are never
compared.

If a batch runs twice anyway (its shard was cut off and came back), it does no harm: results are conditional
puts, too, and the first one counts.
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
    """Watches the heartbeats of other shards and decides which runs have gone silent."""

    def __init__(self, clock: Clock, lease_s: float) -> None:
        self._clock = clock
        self._lease_s = lease_s
        self._seen: dict[int, _Sighting] = {}

    def lost(self, claim: Claim, heartbeat: Heartbeat | None) -> bool:
        """Return whether a claim's holder is gone, given its shard's present heartbeat.

        It is gone if the shard has ended or another run has replaced it, or if the heartbeat hasn't changed
        for the duration of a lease.
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
    """The claims of one run of a shard."""

    def __init__(self, build: StoredBuild, shard: int, token: str, silence: Silence) -> None:
        self._build = build
        self._shard = shard
        self._token = token
        self._silence = silence

    def claim(self, batch: str) -> bool:
        """Claim an unclaimed batch; return whether it is ours."""
        return self._build.claim(Claim(batch, self._shard, self._token))

    def take_over(self, batch: str) -> bool:
        """Take over a batch whose holder is gone; return whether it is ours."""
        held = self._build.held_claim(batch)
        claim = held.value
        if claim.token == self._token:
            return False  # another of our own slots has it
        heartbeat = self._build.find_heartbeat(claim.shard)
        if not self._silence.lost(claim, heartbeat.value if heartbeat else None):
            return False
        return self._build.take_over(held, Claim(batch, self._shard, self._token, takes_over=claim.token))


def own_deal(plan: Plan, shard: int) -> tuple[str, ...]:
    """Return the batches that a shard starts with, in order; none for a shard beyond the plan's."""
    return plan.deals[shard - 1] if shard <= plan.shards else ()


def steal_order(plan: Plan, unclaimed: Iterable[str]) -> tuple[str, ...]:
    """Return the batches to steal, each from the tail of the deal with the most work left at that point."""
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
