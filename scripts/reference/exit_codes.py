"""The page of exit codes: what the command line promises, and the errors that end with each."""

from __future__ import annotations

import re

from covfleet import errors
from covfleet.cli import app
from covfleet.errors import PipelineError

from reference.markdown import page, table

_INTRO = """\
Every command ends with one of these codes. covfleet translates the exit codes of pytest and coverage.py and
never passes them on. A killed shard or a failing report can't hide behind a passing one: no result counts as
a failure.
"""

_MORE = """\
`covfleet doctor` ends with the code of the worst thing that it finds, and
`covfleet jenkins run --follow` with the code of the build: SUCCESS 0, UNSTABLE 3, ABORTED 130, and for
FAILURE the code of the stage that failed.

An error message says what happened and to which object; the line that begins with `hint:` says what to do
next. `-v` adds a traceback to errors that covfleet didn't expect.
"""


def exit_codes_page() -> str:
    """Return the page: each code with its meaning."""
    rows = [(str(code), meaning, _raised(code)) for code, meaning in promised().items()]
    return page(
        "Exit codes",
        "`pipeline/covfleet/cli.py` and `pipeline/covfleet/errors.py`",
        _INTRO,
        table(("code", "meaning", "when"), rows),
        _MORE,
    )


def promised() -> dict[int, str]:
    """Return the codes that ``covfleet --help`` lists, with their meanings."""
    _, _, listed = (app.epilog or "").partition("Exit codes:")
    pairs = re.findall(r"(\d+) ([^·]+)", " ".join(listed.split()))
    return {int(code): meaning.strip() for code, meaning in pairs}


def _raised(code: int) -> str:
    """Return what the most general errors with this code say of themselves."""
    found = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, PipelineError)
    ]
    return " ".join(
        (each.__doc__ or "").split("\n")[0]
        for each in found
        if each.exit_code == code
        and not any(base in found and base.exit_code == code for base in each.__mro__[1:])
        and each is not PipelineError
    )
