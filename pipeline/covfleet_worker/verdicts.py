"""The outcome of a test, from pytest's reports on it."""

from __future__ import annotations

from typing import Any

from .channel import clean, shortened

SERIOUS_FIRST = ("failed", "error", "xpassed", "xfailed", "skipped", "passed")


class Verdicts:
    """Turns pytest's reports on one test (setup, call, teardown) into one outcome."""

    def __init__(self) -> None:
        self.reports: list[Any] = []

    @staticmethod
    def _of(report: Any) -> str:
        if report.failed:
            return "failed" if report.when == "call" else "error"
        if hasattr(report, "wasxfail"):
            return "xfailed" if report.skipped else "xpassed"
        return "skipped" if report.skipped else "passed"

    def outcome(self, test: str) -> dict[str, Any]:
        """Return the test's outcome, as the fields of a ``test`` event."""
        known = [(self._of(report), report) for report in self.reports if report.outcome != "rerun"]
        for verdict in SERIOUS_FIRST:
            for found, report in known:
                if found == verdict:
                    message, output = self._text(verdict, report)
                    duration = sum(getattr(each, "duration", 0.0) for each in self.reports)
                    return {
                        "id": test,
                        "outcome": verdict,
                        "duration_s": duration,
                        "message": message,
                        "output": output,
                    }
        return failure(test, "error", "pytest ran this test without reporting an outcome")

    @staticmethod
    def _text(verdict: str, report: Any) -> tuple[str, str]:
        if verdict == "passed":
            return "", ""
        if verdict in ("xfailed", "xpassed"):
            return clean(str(report.wasxfail)), ""
        if verdict == "skipped":
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            return clean(str(reason)), ""
        crash = getattr(report.longrepr, "reprcrash", None)
        message = crash.message if crash else str(report.longrepr)
        sections = [f"{title}\n{content}" for title, content in report.sections]
        first_line = message.splitlines()[0] if message else "failed"
        return clean(first_line)[:500], shortened("\n".join([report.longreprtext, *sections]))


def failure(test: str, outcome: str, message: str, output: str = "") -> dict[str, Any]:
    """Return the fields of a ``test`` event for a test without a report."""
    return {"id": test, "outcome": outcome, "duration_s": 0.0, "message": message, "output": output}
