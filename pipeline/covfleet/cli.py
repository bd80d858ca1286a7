"""The command line: find the command, run it, print its error and exit with the documented status."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

import click

from covfleet.commands.common.lazy import LazyGroup
from covfleet.commands.common.options import Invocation
from covfleet.errors import ConfigurationError, InterruptedRunError, PipelineError

_COMMANDS = {
    "Everything": {"run": "Run all stages for a project on this machine."},
    "The stages, in the data's order": {
        "image": "Build the application's image, unless nothing has changed.",
        "plan": "Collect the tests and deal them to shards.",
        "shard": "Run shard K of a planned build.",
        "combine": "Verify a build's data files and combine them into one .coverage.",
        "report": "Write the reports of a combined build.",
        "gate": "Compare a build's coverage with the thresholds.",
        "publish": "Publish a build's reports to the site.",
    },
    "By hand, for any commit in the store": {
        "builds": "List the builds of a commit and the progress of each.",
        "recombine": "Combine, report and publish a build again.",
        "fetch": "Download the data files of a commit for stock coverage.py.",
    },
    "Jenkins": {"jenkins": "Run the stages on Jenkins: render its files, start builds, follow them."},
    "Help": {"doctor": "Check the machine, project, engine and store, and suggest fixes."},
}

_EPILOG = """\
\b
Settings: [tool.covfleet] in pyproject.toml, then COVFLEET_… variables, then flags; the last one wins.
Two underscores separate a table from its key: COVFLEET_IMAGE__BASE is `base` in [tool.covfleet.image].

\b
Exit codes: 0 success · 1 any other error · 2 usage or configuration · 3 tests failed · 4 below a gate ·
5 incomplete or corrupt data · 6 Docker, S3 or Jenkins failed · 130 interrupted
"""


@click.group(
    cls=LazyGroup,
    sections={
        title: {name: (f"covfleet.commands.{name}:command", what) for name, what in commands.items()}
        for title, commands in _COMMANDS.items()
    },
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="covfleet", message="%(prog)s %(version)s")
def app() -> None:
    """Run a Python test suite under coverage on many shards and get one result, proven complete.

    Start with `covfleet run` in a project's folder. `covfleet COMMAND --help` shows examples of each command.
    """


def main() -> NoReturn:
    """Run the command that argv names, and exit."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a test id may contain anything
    sys.exit(status(sys.argv[1:]))


def status(arguments: list[str]) -> int:
    """Run a command, print its error if it fails, and return its exit status."""
    invocation = Invocation()
    color = False if os.environ.get("NO_COLOR") else None
    try:
        result = app.main(arguments, prog_name="covfleet", standalone_mode=False, obj=invocation, color=color)
    except click.ClickException as error:
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "covfleet"
        _print_error(error.format_message(), f"{path} --help")
        return ConfigurationError.exit_code
    except (click.Abort, KeyboardInterrupt):
        _print_error("interrupted", "")
        return InterruptedRunError.exit_code
    except PipelineError as error:
        _print_error(str(error), error.hint)
        return error.exit_code
    except Exception as error:
        return _unexpected(error, verbose=invocation.verbose)
    return result if isinstance(result, int) else 0


def _unexpected(error: Exception, *, verbose: bool) -> int:
    if verbose:
        click.echo("".join(traceback.format_exception(error)), err=True)
    hint = "" if verbose else "Run it again with -v to see the traceback."
    if isinstance(error, BrokenPipeError):  # `covfleet plan --json | head`: the reader is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        _print_error(f"{type(error).__name__}: {error}", hint)
    return PipelineError.exit_code


def _print_error(message: str, hint: str) -> None:
    click.echo(f"{click.style('covfleet: error:', fg='red', bold=True)} {message}", err=True)
    if hint:
        click.echo(f"{click.style('hint:', bold=True)} {hint}", err=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
