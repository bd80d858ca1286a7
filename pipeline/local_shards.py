"""Runs a build's shards side by side on this machine, and watches them through the store, as anyone could."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from pipeline.errors import ServiceError
from pipeline.keys import BuildKeys
from pipeline.model import Plan
from pipeline.ports import Clock, Narrate, ObjectStore
from pipeline.progress import Display
from pipeline.status import read_status

_LOOK_EVERY_S = 0.25
_GRACE_S = 20.0
_GOOD_ENDS = frozenset({0, 3})  # done; done, and tests failed


class ShardProcess(Protocol):
    """A running ``covfleet shard K``."""

    shard: int

    def poll(self) -> int | None:
        """Return its exit status (negative: the signal that killed it), ``None`` while it runs."""

    def terminate(self) -> None:
        """Ask it to stop its workers and end."""

    def kill(self) -> None:
        """End it."""

    def last_words(self) -> str:
        """Return the end of what it wrote."""


@dataclass(frozen=True, slots=True)
class ShardsRequest:
    """The build whose shards shall run, and how to start and show them."""

    store: ObjectStore
    keys: BuildKeys
    plan: Plan
    start: Callable[[int], ShardProcess]
    display: Display
    stopping: Callable[[], AbstractContextManager[threading.Event]]  # turns signals into an event meanwhile
    clock: Clock
    narrate: Narrate


def run_shards(request: ShardsRequest) -> None:
    """Start every shard and return when all have ended, whatever they achieved: the ledger judges that.

    Signals only set an event meanwhile: raised in the middle of a start, they would leave a shard behind.

    Raises:
        KeyboardInterrupt: a signal came; the shards have been stopped.
        ServiceError: every shard ended with an error before it had done anything.
    """
    shards: list[ShardProcess] = []
    with request.stopping() as stop, _stopped_at_the_end(shards, request.clock):
        with request.display as display:
            for number in range(1, request.plan.shards + 1):
                if not stop.is_set():
                    shards.append(request.start(number))
            while not stop.is_set() and any(shard.poll() is None for shard in shards):
                display.show(read_status(request.store, request.keys, request.plan))
                request.clock.sleep(_LOOK_EVERY_S)
            status = read_status(request.store, request.keys, request.plan)
            display.show(status)
        if stop.is_set():
            raise KeyboardInterrupt
    bad = [shard for shard in shards if shard.poll() not in _GOOD_ENDS]
    for shard in bad:
        request.narrate(f"shard {shard.shard} {_how(shard.poll())}{_said(shard.last_words())}")
    if bad and len(bad) == len(shards) and not status.batches_done:
        how, said = _how(bad[0].poll()), _said(bad[0].last_words())
        raise ServiceError(
            f"no shard could do any work; shard {bad[0].shard} {how}{said}",
            hint="Try one by hand with `covfleet shard 1 -v`, and `covfleet doctor`.",
        )


@contextmanager
def _stopped_at_the_end(shards: list[ShardProcess], clock: Clock) -> Iterator[None]:
    try:
        yield
    finally:
        _stop(shards, clock)


def _stop(shards: list[ShardProcess], clock: Clock) -> None:
    for shard in shards:
        if shard.poll() is None:
            shard.terminate()
    deadline = clock.monotonic() + _GRACE_S
    while any(shard.poll() is None for shard in shards) and clock.monotonic() < deadline:
        clock.sleep(_LOOK_EVERY_S / 5)
    for shard in shards:
        if shard.poll() is None:
            shard.kill()


def _how(status: int | None) -> str:
    if status is None:
        return "had to be killed"
    return f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"


def _said(words: str) -> str:
    return f":\n{words}" if words else ""
