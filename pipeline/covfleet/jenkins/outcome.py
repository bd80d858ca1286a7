"""Translate a build's result into covfleet's exit codes.

SUCCESS is 0, UNSTABLE 3, ABORTED 130. FAILURE is the exit code of the covfleet command that failed, from the
console or the store, or else 1; NOT_BUILT is 1.
"""

from __future__ import annotations

import re

from covfleet.errors import (
    BelowGateError,
    ConfigurationError,
    IncompleteDataError,
    InterruptedRunError,
    PipelineError,
    ServiceError,
    TestsFailedError,
)
from covfleet.ports.controller import Build

_CODES = {
    kind.exit_code: kind
    for kind in (
        PipelineError,
        ConfigurationError,
        TestsFailedError,
        BelowGateError,
        IncompleteDataError,
        ServiceError,
    )
}
_ENDED_WITH = re.compile(r"\bcovfleet\b[^\n]*? ended with exit code (\d{1,3})\b")
_MEANING = {
    2: "a setting or a command is wrong",
    3: "tests failed",
    4: "the coverage is below the gate",
    5: "data is incomplete or corrupt",
    6: "a service failed",
}


def code_in_console(text: str) -> int | None:
    """Return the last exit code in a console, which is that of the stage that ended the build."""
    found = _ENDED_WITH.findall(text)
    return int(found[-1]) if found else None


def judge(build: Build, code: int | None) -> None:
    """Raise the error for a build's result; none for SUCCESS.

    Args:
        build: a build that has ended.
        code: the exit code of the command that failed, if it is known; used only for FAILURE.
    """
    name, hint = f"{build.job} #{build.number}", f"See {build.url}console"
    match build.result:
        case "SUCCESS":
            return
        case "UNSTABLE":
            raise TestsFailedError(f"{name} is UNSTABLE: tests failed", hint=hint)
        case "ABORTED":
            raise InterruptedRunError(f"{name} was ABORTED by someone or by its time limit", hint=hint)
        case "FAILURE" if code in _CODES:
            raise _CODES[code](f"{name} FAILED: {_MEANING.get(code, 'an error')}", hint=hint)
        case other:
            raise PipelineError(f"{name} ended as {other or 'nothing'}", hint=hint)
