"""Combining while the shards run: what they deliver is merged at once, so that little is left in the end."""

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
    """Give the combination of a build that can be merged little by little, and goes on after a restart.

    Args:
        build: the build.
        workdir: a folder for the result and for what is downloaded, which stays there.
        file: where the union grows; what an earlier process left there of the same build is continued.
        workers: parallel transfers.
        narrate: told why nothing can be merged in advance.

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
            narrate(f"all is merged in the end, as it can't be in advance: {error}")
        yield Combination(build, workdir, Transfers(workers), growing, narrate)


def patiently(advance: Callable[[], None], narrate: Narrate) -> None:
    """Merge what has come; if the store fails, say so: the next time, or the end, tries again."""
    try:
        advance()
    except StoreError as error:
        narrate(f"what has come is not merged yet: {error}")


class Ending:
    """Tells when nothing more will come of a build, from what its shards say.

    What changes is compared with our own clock, never with that of another machine.

    Args:
        clock: our own.
        silence_s: a shard without a sign of life for so long is gone.
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
        """Say whether it is over, given how the build is now."""
        now = self._clock.monotonic()
        self._note(status, now)
        if status.complete:  # a shard delivers what its subprocesses wrote when it ends
            return not any(self._works(shard, now) for shard in status.shards)
        ended = all(shard.heartbeat and shard.heartbeat.state in ENDED for shard in status.shards)
        return self.idle_s >= (self._silence_s if ended else self._patience_s)

    @property
    def idle_s(self) -> float:
        """For how long nothing has happened, in seconds."""
        return self._clock.monotonic() - self._moved

    @property
    def patience_is_over(self) -> bool:
        """Whether nothing has happened for as long as anybody would wait."""
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
    """How a build is followed: until when, how often (seconds), and whom to tell."""

    reader: StatusReader
    ending: Ending
    every_s: float
    display: Display
    narrate: Narrate
    stop: threading.Event  # set: end at once


def follow(combination: Combination, rehearsals: Rehearsals, watch: Watch) -> tuple[str, ...]:
    """Merge what shards deliver until nothing more comes, or none of them gives a sign of life any more.

    Meanwhile the reports are rehearsed. Whether anything is missing, finishing the combination says; returned
    is what its ledger should note.

    Raises:
        KeyboardInterrupt: ``watch.stop`` was set. What was merged stays merged.
        StoreError: the store failed for as long as anybody would wait.
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
    """Name the shards that never said that they had ended, though every batch has a result."""
    silent = [f"{one.shard}" for one in status.shards if one.heartbeat and one.heartbeat.state not in ENDED]
    if not silent or not status.complete:
        return ()
    late = "what their subprocesses wrote after the last test may be missing"
    return (f"fell silent without saying that they had ended: shard {', '.join(silent)}; {late}",)
