"""Run a build's shards in parallel on this machine, and follow them through the store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from covfleet.errors import ServiceError
from covfleet.ports.clock import Clock
from covfleet.ports.narration import Narrate
from covfleet.store.status import StatusReader
from covfleet.watch.progress import Display

_LOOK_EVERY_S = 0.25
_GRACE_S = 20.0
_GOOD_ENDS = frozenset({0, 3})  # success; tests failed


class ShardProcess(Protocol):
    """A running ``covfleet shard K``."""

    shard: int

    def poll(self) -> int | None:
        """Return its exit status (negative: the signal that killed it), or ``None`` while it is running."""

    def terminate(self) -> None:
        """Ask it to stop its workers and exit."""

    def kill(self) -> None:
        """Kill it."""

    def last_words(self) -> str:
        """Return the end of its output."""


class LocalShards:
    """The shards of a local run. Use it as a context manager: no shard outlives it.

    While shards are started or watched, signals only set an event: an exception in the middle of a start
    would leave a shard behind.
    """

    def __init__(
        self,
        start: Callable[[int], ShardProcess],
        stopping: Callable[[], AbstractContextManager[threading.Event]],
        clock: Clock,
        narrate: Narrate,
    ) -> None:
        self._start = start
        self._stopping = stopping
        self._clock = clock
        self._narrate = narrate
        self._shards: list[ShardProcess] = []

    def __enter__(self) -> LocalShards:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop()

    def start(self, count: int) -> None:
        """Start shards until there are ``count``. Raises ``KeyboardInterrupt`` after a signal."""
        with self._stopping() as stop:
            for number in range(len(self._shards) + 1, count + 1):
                if not stop.is_set():
                    self._shards.append(self._start(number))
        if stop.is_set():
            raise KeyboardInterrupt

    def watch(self, reader: StatusReader, display: Display, meanwhile: Callable[[], None]) -> None:
        """Show the build until all shards have ended; the ledger judges their results.

        Args:
            reader: reads the build's progress.
            display: shows it.
            meanwhile: called after each read; it may take its time.

        Raises:
            KeyboardInterrupt: a signal arrived.
            ServiceError: every shard ended with an error before it had done anything.
        """
        with self._stopping() as stop, display:
            while not stop.is_set() and any(shard.poll() is None for shard in self._shards):
                display.show(reader.read())
                meanwhile()
                self._clock.sleep(_LOOK_EVERY_S)
            status = reader.read()
            display.show(status)
        if stop.is_set():
            raise KeyboardInterrupt
        self._explain(nothing_done=not status.batches_done)

    def _explain(self, *, nothing_done: bool) -> None:
        bad = [shard for shard in self._shards if shard.poll() not in _GOOD_ENDS]
        for shard in bad:
            self._narrate(f"shard {shard.shard} {_how(shard.poll())}{_said(shard.last_words())}")
        if bad and len(bad) == len(self._shards) and nothing_done:
            how, said = _how(bad[0].poll()), _said(bad[0].last_words())
            raise ServiceError(
                f"no shard could do any work; shard {bad[0].shard} {how}{said}",
                hint="Run `covfleet doctor`, or try a single shard with `covfleet shard 1 -v`.",
            )

    def _stop(self) -> None:
        for shard in self._shards:
            if shard.poll() is None:
                shard.terminate()
        deadline = self._clock.monotonic() + _GRACE_S
        while any(shard.poll() is None for shard in self._shards) and self._clock.monotonic() < deadline:
            self._clock.sleep(_LOOK_EVERY_S / 5)
        for shard in self._shards:
            if shard.poll() is None:
                shard.kill()


def _how(status: int | None) -> str:
    if status is None:
        return "had to be killed"
    return f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"


def _said(words: str) -> str:
    return f":\n{words}" if words else ""
