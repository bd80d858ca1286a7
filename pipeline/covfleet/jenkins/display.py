"""Show a build while following it: live on a terminal, in plain lines without one."""

from __future__ import annotations

import time
from collections import Counter
from typing import Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import Task
from rich.spinner import Spinner
from rich.text import Text

from covfleet.jenkins.follow import Moment
from covfleet.ports.controller import Build
from covfleet.text import duration
from covfleet.watch.progress import Bars, Lines

_RUNNING = frozenset({"IN_PROGRESS", "PAUSED_PENDING_INPUT"})
_OTHER_LINES = 4  # of the live part, including a line above it
_STYLES = {
    "SUCCESS": "green",
    "UNSTABLE": "yellow",
    "FAILURE": "red",
    "FAILED": "red",
    "ABORTED": "magenta",
    "RUNNING": "cyan",
}


class Screen:
    """Implements ``follow.FollowDisplay``: past events are lines that stay; the current state is live below.

    Narration goes to ``console``, the build's own console output to ``out``, unmodified if that isn't a
    terminal.
    """

    def __init__(self, console: Console, out: TextIO) -> None:
        self._console = console
        self._out = out
        self._bars = Bars(console)
        self._lines = Lines(console)
        self._spinner = Spinner("dots")
        self._news = News()
        self._moment = Moment()
        self._looked_at = time.monotonic()
        self._rest = ""  # of the console output: an incomplete line
        self._live = Live(console=console, get_renderable=self._render, transient=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._write_console("\n" if self._rest else "")
        if self._console.is_terminal:
            self._live.stop()
        else:
            self._lines.__exit__(None, None, None)  # the last figures

    def show(self, moment: Moment) -> None:
        """Show the build's progress now."""
        self._moment, self._looked_at = moment, time.monotonic()
        if moment.build or not self._console.is_terminal:
            for line in self._news.lines(moment):
                self._print(line)
        if moment.shards is None:
            return
        if self._console.is_terminal:
            self._bars.show(moment.shards)
        else:
            self._lines.show(moment.shards)

    def say(self, line: str) -> None:
        """Show one line that stays."""
        self._print(Text(plain(line)))

    def console(self, text: str) -> None:
        """Show a piece of the build's console output."""
        self._write_console(text)

    def _write_console(self, text: str) -> None:
        if not self._out.isatty():
            self._out.write(text)
            self._out.flush()
            return
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            self._print(Text.from_ansi(line))  # keeps colours, drops all other control sequences

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True, highlight=False)

    def _render(self) -> RenderableType:
        self._spinner.update(text=_headline(self._moment, time.monotonic() - self._looked_at))
        if self._moment.shards is None or not (self._moment.build and self._moment.build.building):
            return self._spinner
        return Group(self._spinner, self._bars.rows.make_tasks_table(self._rows()))

    def _rows(self) -> list[Task]:
        """Return the rows that fit: the total, and as many unfinished shards as there is room for."""
        *shards, together = self._bars.rows.tasks
        room = max(self._console.height - _OTHER_LINES, 1)
        if len(shards) > room:
            shards = [row for row in shards if not row.finished][:room]
        return [*shards, together]


class News:
    """The news in each moment, compared with the moments before it."""

    def __init__(self) -> None:
        self._told: set[tuple[str, ...]] = set()

    def lines(self, moment: Moment) -> list[Text]:
        """Return a line for each fact that hasn't been shown yet."""
        build = moment.build
        if build is None:
            return self._once(("queue", moment.waits_for), _waiting(moment))
        lines = self._once(("build",), Text.assemble((_name(build), "bold"), f" is running: {build.url}"))
        for stage in moment.stages:
            if stage.status not in (*_RUNNING, "NOT_EXECUTED"):
                text = Text(f"{plain(stage.name)}: ").append(*styled(stage.status))
                lines += self._once(
                    ("stage", stage.name, stage.status), text.append(f", {duration(stage.duration_s)}")
                )
        for sub in build.sub_builds:
            if sub.result:
                text = Text(plain(f"{sub.phase}, {sub.alias}: ")).append(*styled(sub.result))
                lines += self._once(("child", sub.job, str(sub.number), sub.alias), text)
        if not build.building:
            text = Text.assemble(
                (_name(build), "bold"), " ended: ", (build.result, _STYLES.get(build.result, ""))
            )
            lines += self._once(("end",), text.append(f", {duration(build.duration_s)}"))
        return lines

    def _once(self, what: tuple[str, ...], line: Text) -> list[Text]:
        if what in self._told:
            return []
        self._told.add(what)
        return [line]


def styled(state: str) -> tuple[str, str]:
    """Return a result or a stage's status with its colour."""
    return state, _STYLES.get(state, "")


def _waiting(moment: Moment) -> Text:
    before = f" ({moment.before_it} before it)" if moment.before_it else ""
    return Text(f"in the queue{before}: {plain(moment.waits_for) or 'about to start'}")


def _headline(moment: Moment, since_s: float) -> Text:
    build = moment.build
    if build is None:
        return _waiting(moment) if moment.waits_for else Text("contacting the controller")
    running = [stage for stage in moment.stages if stage.status in _RUNNING]
    parts = [_name(build), *(stage.name for stage in running[-1:])]
    if running:
        parts.append(duration(round(running[-1].duration_s + since_s)))
    if build.sub_builds:
        states = Counter(sub.result or "running" for sub in build.sub_builds)
        parts.append(", ".join(f"{number} {state}" for state, number in sorted(states.items())))
    if build.estimated_s > 0:
        parts.append(f"builds take about {duration(build.estimated_s)}")
    return Text(plain(" · ".join(parts)))


def _name(build: Build) -> str:
    return f"{build.job} #{build.number}"


def plain(text: str) -> str:
    """Return text from outside without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
