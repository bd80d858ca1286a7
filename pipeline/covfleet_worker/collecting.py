"""Collecting one file after the other, so that one that ends or stops the process costs itself alone."""

from __future__ import annotations

from typing import Any, Container, Iterable, Mapping, Optional, Sequence

import pytest

from .channel import Channel, clean, shortened

SHOWN_IDS = 20
UNSTABLE_IDS = "ids change from run to run, or between machines; sort sets, give explicit ids"
UNSTABLE_IDS_HELP = (
    "A set has no order: sort it before it parametrizes a test. Random values, times and objects "
    "need an explicit id: pytest.param(value, id=...)."
)


class Announced:
    """The pytest plugin that says which file is collected at the moment, and outlives ``sys.exit`` there."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._current = ""

    def _announce(self, file: str) -> None:
        if file != self._current:
            self._current = file
            self._channel.send("collecting", file=file)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_make_collect_report(self, collector: Any) -> Any:
        """Name the file or folder before it is imported; let one that ends the session be an error."""
        if collector.nodeid not in ("", "."):
            self._announce(clean(collector.nodeid).partition("::")[0])
        made = yield
        if made.excinfo and isinstance(made.excinfo[1], (SystemExit, pytest.exit.Exception)):
            kind, error, _ = made.excinfo
            made.force_result(failed(collector, f"its import ended the test run: {kind.__name__}: {error}"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self) -> None:
        """Say that no file is being collected any more: what follows is the plugins' work."""
        self._announce("")


class LeftOut:
    """The pytest plugin that keeps files from being imported which ended the planner's process.

    Args:
        files: what is said of each, a message and an output.
    """

    def __init__(self, files: Mapping[str, Sequence[str]]) -> None:
        self._files = files

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: Any) -> Optional[pytest.CollectReport]:
        """Report the file as an error, without importing it."""
        said = self._files.get(clean(collector.nodeid))
        return failed(collector, "\n".join(said)) if said else None


def failed(collector: Any, text: str) -> pytest.CollectReport:
    """Return the report of something that can't be collected."""
    return pytest.CollectReport(collector.nodeid, "failed", longrepr=text, result=[])


def reason(report: Any) -> str:
    """Return in one line why something couldn't be collected: the error's, or else the report's last one."""
    lines = [line for line in report.longreprtext.splitlines() if line.strip()]
    errors = [line[1:].strip() for line in lines if line.startswith("E  ")]
    found = [*lines[-1:], *errors[-1:]]
    return f"couldn't be collected: {clean(found[-1].strip())[:400]}" if found else "couldn't be collected"


def why_missing(test: str, known: Iterable[str], planned: Container[str]) -> tuple[str, str]:
    """Return why a planned test may not be there, as a message and an output.

    Unplanned ones in its place, of the same function or else the same file, have ids that change.
    """
    missing = "was planned, but pytest didn't collect it here"
    for place in (test.partition("[")[0], test.partition("::")[0]):
        new = [
            other for other in known if other.startswith((f"{place}[", f"{place}::")) and other not in planned
        ]
        if new:
            instead = "\n".join([f"Instead of {test}, pytest collects here:", *new[:SHOWN_IDS]])
            return f"{missing}: {UNSTABLE_IDS}", shortened(f"{instead}\n\n{UNSTABLE_IDS_HELP}")
    return missing, ""
