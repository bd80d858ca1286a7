"""The meaning of each verdict, in the same words in every report, and the marks on incomplete reports."""

from __future__ import annotations

from pathlib import Path

from covfleet.model import Verdict

MEANING: dict[Verdict, str] = {
    "complete": "Every planned test has a result, and every data file is what its shard sent.",
    "partial": "Data of planned tests is missing: the figures are too low.",
    "conflicting": "The data contradicts itself: the figures can't be trusted.",
    "unverified": "There was no plan to check the data against: tests may be missing.",
}


def heading(title: str, verdict: Verdict) -> str:
    """Return a report's title, prefixed with the verdict unless that is "complete"."""
    return title if verdict == "complete" else f"{verdict.upper()}: {title}"


def banner_css(verdict: Verdict) -> str:
    """Return a style sheet that shows the verdict at the top of every page of coverage.py's HTML report."""
    return f"""
body::before {{
    content: "{verdict.upper()}: {MEANING[verdict]}";
    display: block; padding: .75rem 3.5rem; background: #9a3412; color: #fff; font-weight: 600;
}}
"""


def mark(folder: Path, verdict: Verdict) -> None:
    """Write the verdict into the reports for programs, in a place that each format allows.

    XML gets a comment, JSON a member "covfleet", LCOV a test name, the text table a first line.
    """
    words = f"{verdict.upper()}: {MEANING[verdict]}"
    _insert(folder / "coverage.xml", after="?>", text=f"\n<!-- {words} -->")
    _insert(folder / "coverage.json", after="{", text=f'"covfleet": {{"verdict": "{verdict}"}}, ')
    _insert(folder / "coverage.lcov", after="", text=f"TN:{verdict}\n")
    _insert(folder / "coverage.txt", after="", text=f"{words}\n\n")


def _insert(path: Path, *, after: str, text: str) -> None:
    content = path.read_text(encoding="utf-8")
    at = content.index(after) + len(after)
    path.write_text(content[:at] + text + content[at:], encoding="utf-8")
