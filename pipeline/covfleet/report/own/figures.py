"""The figures of the reports, from coverage.py's own: counts, never rounded percentages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from covfleet.model import Totals

if TYPE_CHECKING:  # it is private: a coverage.py without it must not break this module
    from coverage.results import Numbers


@dataclass(frozen=True, slots=True)
class FileFigures:
    """One file's coverage: statements and branches together."""

    path: str
    units: int  # statements and branches
    missing: int

    @property
    def share(self) -> Fraction:
        """The covered share, 0 to 1; 1 for a file without anything to cover."""
        return 1 - Fraction(self.missing, self.units) if self.units else Fraction(1)


def figures_of(
    files: Iterable[tuple[str, Numbers]], *, has_branches: bool
) -> tuple[Totals, tuple[FileFigures, ...]]:
    """Return the project's totals and every file's figures."""
    files = tuple(files)
    counts = [counts for _, counts in files]
    return Totals(
        files=len(files),
        statements=sum(one.n_statements for one in counts),
        covered_statements=sum(one.n_statements - one.n_missing for one in counts),
        branches=sum(one.n_branches for one in counts),
        covered_branches=sum(one.n_branches - one.n_missing_branches for one in counts),
        measures_branches=has_branches,
    ), tuple(
        FileFigures(
            path, numbers.n_statements + numbers.n_branches, numbers.n_missing + numbers.n_missing_branches
        )
        for path, numbers in files
    )


def read_figures(json_report: Path) -> tuple[Totals, tuple[FileFigures, ...]]:
    """Return the same from ``coverage.json``."""
    report = json.loads(json_report.read_bytes())
    totals = report["totals"]
    return Totals(
        files=len(report["files"]),
        statements=totals["num_statements"],
        covered_statements=totals["covered_lines"],
        branches=totals.get("num_branches", 0),
        covered_branches=totals.get("covered_branches", 0),
        measures_branches=report["meta"]["branch_coverage"],
    ), tuple(_file(path, file["summary"]) for path, file in report["files"].items())


def _file(path: str, summary: dict[str, Any]) -> FileFigures:
    return FileFigures(
        path=path,
        units=summary["num_statements"] + summary.get("num_branches", 0),
        missing=summary["missing_lines"] + summary.get("missing_branches", 0),
    )
