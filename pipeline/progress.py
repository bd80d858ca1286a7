"""Shows a build while it runs: one bar a shard on a terminal, a plain line now and then without one."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from pipeline.status import BuildStatus, ShardStatus

_LINE_EVERY_S = 10.0


class Display(Protocol):
    """Something that shows moments of a build, as a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, status: BuildStatus) -> None:
        """Show how far the build is now."""


def make_display(console: Console) -> Display:
    """Return bars for a terminal, lines for anything else."""
    return Bars(console) if console.is_terminal else Lines(console)


def time_left_s(status: BuildStatus, elapsed_s: float) -> float | None:
    """Return the expected rest in seconds, if enough is done to tell."""
    if not status.done or not status.tests:
        return None
    return elapsed_s * (status.tests - status.done) / status.done


def duration(seconds: float) -> str:
    """Return a duration for humans: ``8s``, ``2m 05s``, ``1h 04m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    return (
        f"{whole // 60}m {whole % 60:02d}s" if whole < 3600 else f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    )


class Bars:
    """Live bars."""

    def __init__(self, console: Console) -> None:
        self._began = time.monotonic()
        self._progress = Progress(
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
        self._progress.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._progress.stop()

    def show(self, status: BuildStatus) -> None:
        """Move the bars."""
        for shard in status.shards:
            self._show(
                shard.shard, f"shard {shard.shard}", _expected(shard), shard.done, shard.failed, _note(shard)
            )
        left = time_left_s(status, time.monotonic() - self._began)
        note = f"about {duration(left)} left" if left else ""
        self._show(0, "[bold]all", status.tests, status.done, status.failed, note)

    def _show(self, number: int, title: str, total: int, done: int, failed: int, note: str) -> None:
        failures = f"[red]{failed} failed" if failed else ""
        if number not in self._tasks:
            self._tasks[number] = self._progress.add_task(title, total=total, failed=failures, note=note)
        self._progress.update(self._tasks[number], total=total, completed=done, failed=failures, note=note)


def _expected(shard: ShardStatus) -> int:
    """Return how many tests the shard will have run: what it was dealt changes as batches are stolen."""
    heartbeat = shard.heartbeat
    if heartbeat is None:
        return shard.dealt
    if heartbeat.state in ("waiting", "finished", "stopped", "failed"):
        return heartbeat.tests_done
    return max(shard.dealt, heartbeat.tests_done)


def _note(shard: ShardStatus) -> str:
    heartbeat = shard.heartbeat
    if heartbeat is None:
        return "not there yet"
    if heartbeat.state != "running":
        return heartbeat.state
    return Text(heartbeat.current[-48:]).markup


class Lines:
    """A line every ten seconds, and one at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = self._last = time.monotonic()
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
        if time.monotonic() - self._last >= _LINE_EVERY_S:
            self._print(status)

    def _print(self, status: BuildStatus) -> None:
        self._last = time.monotonic()
        self._printed = status
        left = time_left_s(status, self._last - self._began)
        rest = f", about {duration(left)} left" if left else ""
        states = [shard.heartbeat.state for shard in status.shards if shard.heartbeat]
        working = states.count("running")
        self._console.print(
            f"{status.done}/{status.tests} tests, {status.failed} failed, "
            f"{status.batches_done}/{status.batches} batches, "
            f"{working}/{len(status.shards)} shards at work{rest}",
            highlight=False,
            soft_wrap=True,
        )
