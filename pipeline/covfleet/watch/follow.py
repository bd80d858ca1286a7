"""Combine while the shards run: merge results as they arrive, so that little is left at the end."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from covfleet.combine.build import Combination
from covfleet.combine.gather import Transfers
from covfleet.combine.growing import Growing
from covfleet.errors import StoreError
from covfleet.ports.clock import Clock
from covfleet.ports.narration import Narrate
from covfleet.store.build import StoredBuild
from covfleet.store.status import ENDED, BuildStatus, ShardStatus, StatusReader
from covfleet.watch.progress import Display
from covfleet.watch.rehearsal import Rehearsals


@contextlib.contextmanager
def combining_ahead(
    build: StoredBuild, workdir: Path, file: Path, *, workers: int, narrate: Narrate
) -> Iterator[Combination]:
    """Yield a combination of a build that merges results step by step and can resume after a restart.

    Args:
        build: the build.
        workdir: a folder for the result and for downloads, which stay there.
        file: the file of the growing union; if an earlier process left one for the same build, it is resumed.
        workers: number of parallel transfers.
        narrate: called with the reason if nothing can be merged in advance.

    Raises:
        ConfigurationError: there is no such build, the project's coverage settings are unreadable, or
            another process uses ``file``.
        StoreError: the store failed.
    """
    with contextlib.ExitStack() as stack:
        growing = None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            growing = stack.enter_context(Growing(file, f"{build.commit}/{build.name}"))
        except (sqlite3.Error, OSError) as error:
            narrate(f"results can't be merged in advance, only at the end: {error}")
        yield Combination(build, workdir, Transfers(workers), growing, narrate)


def patiently(advance: Callable[[], None], narrate: Narrate) -> None:
    """Merge the results that have arrived; report a failure of the store, as the next call tries again."""
    try:
        advance()
    except StoreError as error:
        narrate(f"new results aren't merged yet: {error}")


class Ending:
    """Decides from the shards' heartbeats whether more results will arrive.

    It measures times only with our own clock, never with another machine's.

    Args:
        clock: our own clock.
        silence_s: a shard without a heartbeat for this long is dead.
        patience_s: how long to wait for shards while nothing at all happens.
    """

    def __init__(self, clock: Clock, silence_s: float, patience_s: float) -> None:
        self._clock = clock
        self._silence_s = silence_s
        self._patience_s = patience_s
        self._beats: dict[int, tuple[str, int]] = {}
        self._heard: dict[int, float] = {}
        self._batches_done = -1
        self._moved = self._began = clock.monotonic()

    def reached(self, status: BuildStatus) -> bool:
        """Return whether the build has ended, given its present status."""
        now = self._clock.monotonic()
        self._note(status, now)
        if status.complete:  # at its end, a shard still delivers its subprocesses' data
            return not any(self._works(shard, now) for shard in status.shards)
        ended = all(shard.heartbeat and shard.heartbeat.state in ENDED for shard in status.shards)
        return self.idle_s >= (self._silence_s if ended else self._patience_s)

    @property
    def idle_s(self) -> float:
        """The seconds since anything last happened."""
        return self._clock.monotonic() - self._moved

    @property
    def patience_is_over(self) -> bool:
        """Whether nothing has happened for ``patience_s`` seconds."""
        return self.idle_s >= self._patience_s

    def _note(self, status: BuildStatus, now: float) -> None:
        for shard in status.shards:
            beat = (shard.heartbeat.token, shard.heartbeat.beat) if shard.heartbeat else ("", 0)
            if beat != self._beats.get(shard.shard, ("", 0)):
                self._beats[shard.shard] = beat
                self._heard[shard.shard] = self._moved = now
        if status.batches_done != self._batches_done:
            self._batches_done = status.batches_done
            self._moved = now

    def _works(self, shard: ShardStatus, now: float) -> bool:
        if shard.heartbeat is None or shard.heartbeat.state in ENDED:
            return False
        return now - self._heard.get(shard.shard, self._began) < self._silence_s


@dataclass(frozen=True, slots=True)
class Watch:
    """The options of following a build: its end, its interval in seconds, its outputs."""

    reader: StatusReader
    ending: Ending
    every_s: float
    display: Display
    narrate: Narrate
    stop: threading.Event  # when set, stop at once


def follow(combination: Combination, rehearsals: Rehearsals, watch: Watch) -> tuple[str, ...]:
    """Merge results as shards deliver them, and rehearse the reports, until no more can arrive.

    Returns notes for the ledger. Whether anything is missing shows when the combination is finished.

    Raises:
        KeyboardInterrupt: ``watch.stop`` was set; merged results are kept.
        StoreError: the store kept failing until the patience was over.
    """
    with watch.display:
        while not watch.stop.is_set():
            try:
                status = watch.reader.read()
                watch.display.show(status)
                combination.advance()
                rehearsals.consider(status.batches_done / max(status.batches, 1))
                if watch.ending.reached(status):
                    return _notes(status)
            except StoreError as error:
                if watch.ending.patience_is_over:
                    raise
                watch.narrate(f"{error}\ntrying again")
            watch.stop.wait(watch.every_s)
    raise KeyboardInterrupt


def _notes(status: BuildStatus) -> tuple[str, ...]:
    """Name the shards that never reported their end, although every batch has a result."""
    silent = [f"{one.shard}" for one in status.shards if one.heartbeat and one.heartbeat.state not in ENDED]
    if not silent or not status.complete:
        return ()
    late = "data that their subprocesses wrote after the last test may be missing"
    return (f"went silent without reporting their end: shard {', '.join(silent)}; {late}",)
