"""The shard's loop: its own deal first, then the tails of other deals, then the batches of silent shards."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from covfleet.errors import ConfigurationError
from covfleet.model import Batch, Heartbeat
from covfleet.shard.heart import Heart
from covfleet.shard.leases import Leases, Silence, own_deal, steal_order
from covfleet.shard.request import ShardRequest
from covfleet.shard.slot import Slot, SlotContext

_FIRST_POLL_S = 0.05
_LONGEST_POLL_S = 1.0


def run_shard(request: ShardRequest) -> Heartbeat:
    """Work until every batch of the build has a result, or until a stop request; return the last heartbeat.

    A shard with nothing left to take waits for the shards that are still working, ready to take over.

    Raises:
        ConfigurationError: the shard's number or its environment doesn't match the plan.
        WorkerError: workers can't be started.
        StoreError: the store failed after all retries.
    """
    if request.shard < 1:
        raise ConfigurationError(f"there is no shard {request.shard}: shards are numbered from 1")
    return _Shard(request).run()


class _Shard:
    def __init__(self, request: ShardRequest) -> None:
        self._request = request
        settings, clock = request.settings, request.clock
        self._token = secrets.token_hex(8)
        silence = Silence(clock, settings.lease_s)
        self._leases = Leases(request.build, request.shard, self._token, silence)
        self._poll_s = min(_LONGEST_POLL_S, settings.beat_s, settings.lease_s / 4)
        self._batches: dict[str, Batch] = {batch.id: batch for batch in request.plan.batches}
        self._queue = list(own_deal(request.plan, request.shard))
        self._done: set[str] = set()
        self._lock = threading.Lock()
        self._superseded = threading.Event()
        self._failed = threading.Event()
        self._heart = Heart(
            request.build,
            Heartbeat(request.shard, self._token, beat=0, state="starting"),
            every_s=settings.beat_s,
            superseded=self._superseded.set,
            narrate=request.narrate,
        )

    def run(self) -> Heartbeat:
        with self._heart:
            self._done = self._results()
            try:
                with ThreadPoolExecutor(self._request.settings.procs, thread_name_prefix="slot") as pool:
                    slots = [pool.submit(self._serve, k) for k in range(self._request.settings.procs)]
                for slot in slots:
                    slot.result()
            except BaseException as error:
                self._heart.end("failed", f"{error}"[:500])
                raise
            if self._superseded.is_set():
                return self._heart.end("stopped", "another run of this shard has started")
            return self._heart.end("stopped" if self._request.stop.is_set() else "finished")

    def _stopping(self) -> bool:
        return self._request.stop.is_set() or self._superseded.is_set() or self._failed.is_set()

    def _serve(self, number: int) -> None:
        """Serve one of the shard's worker slots: take batches and run them until none is left."""
        request = self._request
        context = SlotContext(request, self._token, number, self._stopping, self._heart)
        try:
            with Slot(context) as slot:
                poll_s = _FIRST_POLL_S
                while not self._stopping() and self._work_is_left():
                    batch = self._take()
                    if batch is None:
                        self._heart.update(state="waiting")
                        slot.rest()
                        request.stop.wait(poll_s)
                        poll_s = min(2 * poll_s, self._poll_s)
                    elif slot.run(self._batches[batch]):
                        poll_s = _FIRST_POLL_S
                        self._note_done({batch})
        except BaseException:
            self._failed.set()
            raise

    def _results(self) -> set[str]:
        return self._request.build.finished()

    def _work_is_left(self) -> bool:
        """Return whether any batch has no result yet; this reads the store only after our own deal."""
        with self._lock:
            if self._queue:
                return True
        self._note_done(self._results())
        return not self._batches.keys() <= self._done

    def _note_done(self, batches: set[str]) -> None:
        with self._lock:
            self._done |= batches

    def _take(self) -> str | None:
        """Return a batch that is now ours: dealt, stolen or taken over; ``None`` if none is available."""
        return self._from_own_deal() or self._from_other_deals() or self._from_the_silent()

    def _from_own_deal(self) -> str | None:
        while True:
            with self._lock:
                if not self._queue:
                    return None
                batch = self._queue.pop(0)
            if batch not in self._done and self._leases.claim(batch):
                return batch

    def _from_other_deals(self) -> str | None:
        request = self._request
        unclaimed = self._batches.keys() - request.build.claimed()
        return self._first(steal_order(request.plan, unclaimed), self._leases.claim)

    def _from_the_silent(self) -> str | None:
        held = tuple(batch for batch in self._batches if batch not in self._done)
        return self._first(held, self._leases.take_over)

    def _first(self, batches: tuple[str, ...], take: Callable[[str], bool]) -> str | None:
        return next((batch for batch in batches if not self._stopping() and take(batch)), None)
