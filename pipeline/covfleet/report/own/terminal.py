"""The summary on a terminal; without one, the same text in plain lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from covfleet.model import Verdict
from covfleet.report.own.summary import Summary, read_summary
from covfleet.text import counted, duration, one_line, printable

_STYLES: dict[Verdict, str] = {
    "complete": "bold green",
    "partial": "bold red",
    "conflicting": "bold red",
    "unverified": "bold yellow",
}
_BAR = 24
_SHOWN_FAILURES = 10
_SHOWN_FILES = 5


def print_summary(console: Console, out: Path) -> None:
    """Print the summary of the reports in ``out``: verdict, figures, failures and the HTML report's path.

    Shards and least covered files are for humans: they are left out if the console isn't a terminal.
    """
    summary = read_summary(out)
    parts = [_verdict(summary), _figures(summary), *_problems(summary), *_failures(summary)]
    if console.is_terminal:
        parts += [*_shards(summary), *_lowest(summary)]
    parts += [*_notes(summary), Text(f"HTML report: {out / 'html' / 'index.html'}")]
    for part in parts:
        console.print()
        if console.is_terminal:
            console.print(Padding(part, (0, 2)))
        else:
            console.print(part, soft_wrap=True)  # unwrapped lines: a log has no width


def _verdict(summary: Summary) -> Text:
    line = Text(summary.verdict.capitalize(), style=_STYLES[summary.verdict])
    return line.append(f"  {summary.meaning}", style="not bold default")


def _figures(summary: Summary) -> Text:
    rows = [(name, f"{share}%", f"{part:,} of {whole:,}") for name, share, part, whole in summary.shares]
    rows.append(("Tests", f"{summary.tests_run:,}", summary.outcomes_line or "none ran"))
    if summary.shards:
        shards = f"{counted(len(summary.shards), 'shard')}, {duration(summary.test_time_s)} in total"
        rows.append(("Duration", duration(summary.longest_shard_s), shards))
        rows.append(("Balance", f"{summary.balance:.2f}", "busiest shard relative to the mean"))
    width = max(len(figure) for _, figure, _ in rows)
    lines = [
        Text.assemble(f"{name:<10}", (f"{value:>{width}}", "bold"), f"  {more}") for name, value, more in rows
    ]
    return Text("\n").join(lines)


def _grid() -> Table:
    return Table(box=None, pad_edge=False, header_style="dim", show_edge=False)


def _problems(summary: Summary) -> Iterator[RenderableType]:
    shown = summary.problems[:_SHOWN_FAILURES]
    lines = [_item(problem.kind, problem.subject, one_line(problem.detail)) for problem in shown]
    title = f"{counted(summary.problems_count, 'problem')} with the data"
    yield from _listed(title, lines, summary.problems_count)


def _failures(summary: Summary) -> Iterator[RenderableType]:
    shown = summary.failures[:_SHOWN_FAILURES]
    lines = [_item(failure.outcome, failure.id, failure.message) for failure in shown]
    yield from _listed(f"{counted(summary.failures_count, 'test')} failed", lines, summary.failures_count)


def _item(kind: str, name: str, detail: str) -> Text:
    line = Text.assemble((f"{kind:<10} ", "red"), printable(name))
    return line.append(f"\n{'':<11}{detail}", style="dim") if detail else line


def _listed(title: str, lines: list[Text], count: int) -> Iterator[RenderableType]:
    if not lines:
        return
    if count > len(lines):
        lines = [*lines, Text(f"and {count - len(lines):,} more, in summary.md", style="dim")]
    yield Text("\n").join([Text(title, style="bold"), *lines])


def _shards(summary: Summary) -> Iterator[RenderableType]:
    if not summary.shards:
        return
    grid = _grid()
    for heading in ("Shard", "Batches", "Tests", "Busy"):
        grid.add_column(heading, justify="right")
    grid.add_column("")
    for share in summary.shards:
        length = round(_BAR * share.busy_s / summary.longest_shard_s) if summary.longest_shard_s else 0
        bar = Text("━" * length, style="cyan").append("━" * (_BAR - length), style="bright_black")
        grid.add_row(f"{share.shard}", f"{share.batches}", f"{share.tests:,}", duration(share.busy_s), bar)
    yield grid


def _lowest(summary: Summary) -> Iterator[RenderableType]:
    if not summary.lowest_files:
        return
    grid = _grid()
    grid.add_column("Covered", justify="right")
    grid.add_column("Missing", justify="right")
    grid.add_column("Least covered files", overflow="fold")
    for file in summary.lowest_files[:_SHOWN_FILES]:
        grid.add_row(f"{file.percent}%", f"{file.missing:,}", Text(printable(file.path)))
    yield grid


def _notes(summary: Summary) -> Iterator[RenderableType]:
    for note in summary.notes:
        yield Text.assemble(("Note  ", "yellow"), printable(note))
