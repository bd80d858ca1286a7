"""The summary of a build, with the most important facts first, for Markdown, terminal and programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from covfleet.files import resource
from covfleet.model import (
    FAILING,
    Ledger,
    Outcome,
    Problem,
    ShardShare,
    TestOutcome,
    Totals,
    Verdict,
    floor_percent,
)
from covfleet.report.own.figures import FileFigures
from covfleet.report.own.verdicts import MEANING
from covfleet.store.encoding import from_json
from covfleet.text import counted, duration, markdown, one_line

_SHOWN_FAILURES = 25
_SHOWN_PROBLEMS = 25
_SHOWN_FILES = 10


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed test in one line."""

    id: str
    outcome: Outcome
    message: str


@dataclass(frozen=True, slots=True)
class LowFile:
    """A file with little coverage; ``percent`` is rounded down."""

    path: str
    percent: Decimal
    missing: int  # statements and branches


@dataclass(frozen=True, slots=True)
class Summary:
    """``summary.json``: the reports in short. Lists are truncated; the counts beside them aren't."""

    commit: str
    build: str
    branch: str
    verdict: Verdict
    totals: Totals
    tests_planned: int
    outcomes: dict[Outcome, int]
    failures: tuple[Failure, ...]
    failures_count: int
    problems: tuple[Problem, ...]
    problems_count: int
    test_time_s: float
    longest_shard_s: float
    balance: float  # the busiest shard's time relative to the mean
    shards: tuple[ShardShare, ...]
    lowest_files: tuple[LowFile, ...]
    notes: tuple[str, ...]
    version: Literal[1] = 1

    @property
    def tests_run(self) -> int:
        """The number of tests with an outcome."""
        return sum(self.outcomes.values())

    @property
    def meaning(self) -> str:
        """The meaning of the verdict in a sentence."""
        return MEANING[self.verdict]

    @property
    def outcomes_line(self) -> str:
        """The outcomes in words, the most frequent first."""
        return ", ".join(f"{number:,} {outcome}" for outcome, number in Counter(self.outcomes).most_common())

    @property
    def shares(self) -> tuple[tuple[str, Decimal, int, int], ...]:
        """Name, percent (rounded down), covered and total of each measured kind of figure."""
        totals = self.totals
        covered = totals.covered_statements + totals.covered_branches
        every = totals.statements + totals.branches
        rows = (
            ("Total", totals.total, covered, every),
            ("Lines", totals.line, totals.covered_statements, totals.statements),
            ("Branches", totals.branch, totals.covered_branches, totals.branches),
        )
        kept = rows if totals.measures_branches else rows[1:2]
        return tuple((name, floor_percent(share), part, whole) for name, share, part, whole in kept)


def summarise(
    ledger: Ledger,
    totals: Totals,
    outcomes: Sequence[TestOutcome],
    files: Sequence[FileFigures],
    notes: Sequence[str] = (),
) -> Summary:
    """Return the summary; ``notes`` come after the ledger's own."""
    messages = {outcome.id: outcome for outcome in outcomes if outcome.outcome in FAILING}
    incomplete = (file for file in files if file.missing)
    low = sorted(incomplete, key=lambda file: (file.share, -file.missing, file.path))
    return Summary(
        commit=ledger.commit,
        build=ledger.build,
        branch=ledger.branch,
        verdict=ledger.verdict,
        totals=totals,
        tests_planned=ledger.tests_planned,
        outcomes=ledger.outcomes,
        failures=tuple(_failure(test, messages) for test in ledger.failures[:_SHOWN_FAILURES]),
        failures_count=len(ledger.failures),
        problems=ledger.problems[:_SHOWN_PROBLEMS],
        problems_count=len(ledger.problems),
        test_time_s=ledger.test_time_s,
        longest_shard_s=max((share.busy_s for share in ledger.shares), default=0.0),
        balance=ledger.balance,
        shards=ledger.shares,
        lowest_files=tuple(
            LowFile(file.path, floor_percent(file.share), file.missing) for file in low[:_SHOWN_FILES]
        ),
        notes=(*ledger.notes, *notes),
    )


def _failure(test: str, failed: dict[str, TestOutcome]) -> Failure:
    outcome = failed.get(test)
    return Failure(
        test, outcome.outcome if outcome else "failed", one_line(outcome.message) if outcome else ""
    )


def read_summary(out: Path) -> Summary:
    """Return the summary of the reports in ``out``. Raises ``IncompleteDataError`` if it is damaged."""
    path = out / "summary.json"
    return from_json(Summary, path.read_bytes(), name=str(path))


def to_markdown(summary: Summary) -> str:
    """Return the summary as Markdown (GitHub's dialect) with all texts escaped."""
    environment = Environment(
        loader=FileSystemLoader(resource("templates/report")),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 (Markdown, not HTML: every text passes the filter "markdown")
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(markdown=markdown, duration=duration, counted=counted)
    return environment.get_template("summary.md.j2").render(summary=summary)
