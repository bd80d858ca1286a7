"""Show a running build: one bar per shard on a terminal, otherwise a plain line now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from covfleet.store.status import BuildStatus, ShardStatus
from covfleet.text import duration

_LINE_EVERY_S = 10.0


class Display(Protocol):
    """Shows the progress of a build; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, status: BuildStatus) -> None:
        """Show the build's progress now."""


def make_display(console: Console) -> Display:
    """Return bars for a terminal, lines for anything else."""
    return Bars(console) if console.is_terminal else Lines(console)


class _Pace:
    """The pace of a build since the first status shown: the build may have been running before."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def left(self, status: BuildStatus) -> str:
        """Return the estimated remaining time in words; empty if too little is done for an estimate."""
        now = time.monotonic()
        self._first = self._first or (now, status.done)
        began, before = self._first
        if status.done <= before:
            return ""
        left_s = (now - began) * (status.tests - status.done) / (status.done - before)
        return f"about {duration(max(1, round(left_s)))} left" if left_s else ""


class Bars:
    """Live bars; ``rows`` draws them, alone or as part of a larger display."""

    def __init__(self, console: Console) -> None:
        self._pace = _Pace()
        self.rows = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28, complete_style="cyan", finished_style="green"),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]}"),
            TextColumn("[dim]{task.fields[note]}", markup=True),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> Self:
        self.rows.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.rows.stop()

    def show(self, status: BuildStatus) -> None:
        """Update the bars."""
        for shard in status.shards:
            self._show(
                shard.shard, f"shard {shard.shard}", _expected(shard), shard.done, shard.failed, _note(shard)
            )
        self._show(0, "[bold]all", status.tests, status.done, status.failed, self._pace.left(status))

    def _show(self, number: int, title: str, total: int, done: int, failed: int, note: str) -> None:
        failures = f"[red]{failed} failed" if failed else ""
        if number not in self._tasks:
            self._tasks[number] = self.rows.add_task(title, total=total, failed=failures, note=note)
        self.rows.update(self._tasks[number], total=total, completed=done, failed=failures, note=note)


def _expected(shard: ShardStatus) -> int:
    """Return the number of tests that the shard is expected to run; it changes as batches are stolen."""
    heartbeat = shard.heartbeat
    if heartbeat is None:
        return shard.dealt
    if heartbeat.state in ("waiting", "finished", "stopped", "failed"):
        return heartbeat.tests_done
    return max(shard.dealt, heartbeat.tests_done)


def _note(shard: ShardStatus) -> str:
    heartbeat = shard.heartbeat
    if heartbeat is None:
        return "not started yet"
    if heartbeat.state != "running":
        return heartbeat.state
    return Text(heartbeat.current[-48:]).markup


class Lines:
    """Prints a line every ten seconds, and one at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = time.monotonic()
        self._pace = _Pace()
        self._left = ""
        self._shown: BuildStatus | None = None
        self._printed: BuildStatus | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._shown is not None and self._shown != self._printed:
            self._print(self._shown)

    def show(self, status: BuildStatus) -> None:
        """Print a line if it is time for one."""
        self._shown = status
        self._left = self._pace.left(status)
        if time.monotonic() - self._last >= _LINE_EVERY_S:
            self._print(status)

    def _print(self, status: BuildStatus) -> None:
        self._last = time.monotonic()
        self._printed = status
        rest = f", {self._left}" if self._left else ""
        states = [shard.heartbeat.state for shard in status.shards if shard.heartbeat]
        working = states.count("running")
        self._console.print(
            f"{status.done}/{status.tests} tests, {status.failed} failed, "
            f"{status.batches_done}/{status.batches} batches, "
            f"{working}/{len(status.shards)} shards running{rest}",
            highlight=False,
            soft_wrap=True,
        )
