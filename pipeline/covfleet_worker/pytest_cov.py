"""pytest-cov's options with pytest-cov's own meaning, for a build in which covfleet measures in its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional, Sequence

from .settings import RefusedError

WITHOUT_EFFECT = ("cov_branch", "cov_fail_under", "cov_context", "cov_precision")
ELSEWHERE = {"html": "html/", "xml": "coverage.xml", "json": "coverage.json", "lcov": "coverage.lcov"}


@dataclass
class Asked:
    """What pytest-cov would have set beside coverage.py's file."""

    options: dict[str, Any] = field(default_factory=dict)  # of coverage.py, by name
    rcfile: str = ""
    contexts: bool = False
    no_cov_on_fail: bool = False
    notes: list[str] = field(default_factory=list)


def read(options: Any, args: Sequence[str], ours: Sequence[str]) -> Optional[Asked]:
    """Return what pytest-cov was asked for; ``None`` without ``--cov``, when it measures nothing.

    Args:
        options: what pytest has parsed, from the command line, its settings file and PYTEST_ADDOPTS.
        args: all of these arguments as words.
        ours: words that covfleet has added.

    Raises:
        RefusedError: an option contradicts what covfleet does.
    """
    sources = getattr(options, "cov_source", [])
    if sources == []:
        return None
    refuse(options, args, ours)
    asked = Asked(contexts=options.cov_context == "test", no_cov_on_fail=bool(options.no_cov_on_fail))
    # pytest-cov makes every report with ignore_errors=True
    wanted = {
        "run:source": None if sources is None or True in sources else list(sources),
        "run:branch": options.cov_branch,
        "report:fail_under": options.cov_fail_under,
        "report:precision": getattr(options, "cov_precision", None),  # since pytest-cov 6.1
        "report:ignore_errors": True,
    }
    asked.options = {option: value for option, value in wanted.items() if value is not None}
    if options.cov_config != ".coveragerc":
        asked.rcfile = options.cov_config
    read_reports(options.cov_report or {}, asked)
    return asked


def without_effect(options: Any) -> list[str]:
    """Return notes on options that pytest-cov ignores as long as there is no ``--cov``."""
    names = [name for name in WITHOUT_EFFECT if getattr(options, name, None) is not None]
    return [
        f"--{name.replace('_', '-')} has no effect without --cov, as in pytest-cov itself" for name in names
    ]


def refuse(options: Any, args: Sequence[str], ours: Sequence[str]) -> None:
    """Raise ``RefusedError`` for options that covfleet can't follow."""
    if list(args).count("--no-cov") > list(ours).count("--no-cov"):
        raise RefusedError(
            "pytest's arguments hold --no-cov, which switches coverage off",
            "Leave it out for covfleet, which exists to measure; without coverage, run pytest -n.",
        )
    if options.cov_append:
        raise RefusedError(
            "pytest's arguments hold --cov-append, which adds to the data of an earlier run",
            "Leave it out: a build holds its own data only. Name all tests in pytest_args instead, "
            "and programs that pytest doesn't run in [[tool.covfleet.groups]].",
        )


def read_reports(reports: Any, asked: Asked) -> None:
    """Honour what ``--cov-report`` says of the text report, and note which files lie elsewhere here."""
    if "term-missing" in reports:
        asked.options["report:show_missing"] = True
    if "skip-covered" in reports.values():
        asked.options["report:skip_covered"] = True
    for kind, place in reports.items():
        if kind in ELSEWHERE and place:
            asked.notes.append(
                f"--cov-report={kind}:{place}: covfleet writes {ELSEWHERE[kind]} among its reports"
            )
        elif kind not in {*ELSEWHERE, "term", "term-missing", ""}:
            asked.notes.append(
                f"--cov-report={kind}: covfleet makes no such report; coverage.txt comes closest"
            )
