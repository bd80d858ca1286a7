"""The flags: each is declared once and means the same in every command; settings.load checks their values."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_ALWAYS = ("project", "store", "endpoint_url")
_KEYS = {
    "store": "store",
    "endpoint_url": "endpoint_url",
    "shards": "shards",
    "executor": "executor",
    "branch_coverage": "branch_coverage",
    "contexts": "contexts",
    "python": "python",
    "pytest_args": "pytest_args",
    "image_base": "image.base",
    "gate_total": "gate.total",
    "gate_line": "gate.line",
    "gate_branch": "gate.branch",
    "site": "publish.site",
}


PLANNING = ("commit", "build", "branch", "shards", "executor", "python", "branch_coverage", "contexts")
"""The flags of commands that plan a build, beside pytest's own arguments."""


@dataclass(frozen=True, slots=True)
class Call:
    """The user's request. ``settings`` holds the flags that are settings, by dotted key."""

    project: Path
    settings: Mapping[str, Any]
    commit: str | None = None
    build: str | None = None
    branch_name: str | None = None
    allow_partial: bool = False
    as_json: bool = False
    dry_run: bool = False
    verbose: bool = False


@dataclass(slots=True)
class Invocation:
    """What ``main`` needs from the command line when the command has failed."""

    verbose: bool = False


class Command(click.Command):
    """A command whose help ends with examples: pairs of a command line and its meaning."""

    def __init__(self, *args: Any, examples: tuple[tuple[str, str], ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        del ctx
        with formatter.section("Examples"):
            for line, meaning in self._examples:
                formatter.write(f"{'':{formatter.current_indent}}$ {line}\n")
                with formatter.indentation():
                    formatter.write_text(meaning)


def command(name: str, *flags: str, examples: tuple[tuple[str, str], ...]) -> Callable[[Any], click.Command]:
    """Turn a function that takes a ``Call`` and its own parameters into a command with these shared flags."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        wrapped = _takes_call(function)
        for flag in reversed((*_ALWAYS, *flags, "verbose")):
            wrapped = _FLAGS[flag](wrapped)
        return click.command(name, cls=Command, examples=examples)(wrapped)

    return decorate


wait: Decorator = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="Wait up to this long for the plan of --build.",
)
"""For the commands that may start before the plan exists."""


def _takes_call(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def called(**given: Any) -> Any:
        settings = {key: given.pop(name) for name, key in _KEYS.items() if name in given}
        mine = {name: given.pop(name) for name in tuple(given) if name in Call.__dataclass_fields__}
        return function(Call(settings=settings, **mine), **given)

    return called


def _setting(name: str, what: str, *, metavar: str, callback: Callable[..., Any] | None = None) -> Decorator:
    variable = "COVFLEET_" + _KEYS[name].replace(".", "__").upper()
    flag = "--" + name.replace("_", "-")
    return click.option(flag, name, metavar=metavar, help=f"{what} [{variable}]", callback=callback)


def _switch(name: str, what: str) -> Decorator:
    flag = name.replace("_", "-")
    help_text = f"{what} [COVFLEET_{name.upper()}]"
    return click.option(f"--{flag}/--no-{flag}", name, default=None, help=help_text)


def _note_verbose(ctx: click.Context, _parameter: click.Parameter, value: bool) -> bool:  # noqa: FBT001
    ctx.ensure_object(Invocation).verbose = value
    return value


def _from_here(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Complete a path that is relative to this folder; otherwise it is the project's, or a command."""
    return str(Path.cwd() / value) if value and os.sep in value and Path(value).exists() else value


def _words(
    _ctx: click.Context, _parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...] | None:
    return value or None


_FLAGS: dict[str, Decorator] = {
    "project": click.option(
        "--project",
        type=click.Path(exists=True, file_okay=False, path_type=Path, resolve_path=True),
        default=".",
        metavar="DIR",
        help="Folder of the application; by default the current one.",
    ),
    "store": _setting(
        "store",
        "Where builds are stored: a folder or s3://bucket/prefix; by default .covfleet/store.",
        metavar="URL",
    ),
    "endpoint_url": _setting("endpoint_url", "Address of an S3 server other than AWS.", metavar="URL"),
    "commit": click.option(
        "--commit",
        metavar="SHA",
        help="The commit's name in the store; by default the commit of the project's tree.",
    ),
    "build": click.option(
        "--build",
        metavar="ID",
        help="The build's id; planning starts a new build by default, later stages take the newest.",
    ),
    "branch": click.option(
        "--branch",
        "branch_name",
        metavar="NAME",
        help="The commit's branch; by default the one that git or Jenkins reports.",
    ),
    "shards": _setting("shards", "Number of shards to deal the tests to.", metavar="N"),
    "executor": _setting(
        "executor", "Run the tests in plain processes or in Docker containers.", metavar="process|docker"
    ),
    "python": _setting(
        "python",
        "Interpreter that runs the tests, for plain processes: a file, an environment's folder or a command; "
        "by default that of the active environment, or the project's own.",
        metavar="PATH_OR_COMMAND",
        callback=_from_here,
    ),
    "branch_coverage": _switch(
        "branch_coverage", "Measure branch coverage; by default as the project's coverage settings say."
    ),
    "contexts": _switch("contexts", "Record which tests ran each line."),
    "image_base": _setting("image_base", "Base image of the default Dockerfile.", metavar="IMAGE"),
    "gate_total": _setting("gate_total", "Minimum total coverage.", metavar="PERCENT"),
    "gate_line": _setting("gate_line", "Minimum share of executed statements.", metavar="PERCENT"),
    "gate_branch": _setting("gate_branch", "Minimum share of taken branches.", metavar="PERCENT"),
    "site": _setting("site", "Location of the site: a folder or s3://bucket/prefix.", metavar="URL"),
    "pytest_args": click.argument("pytest_args", nargs=-1, metavar="[-- PYTEST_ARGS...]", callback=_words),
    "allow_partial": click.option(
        "--allow-partial",
        is_flag=True,
        help="Continue with incomplete data and mark every report as partial.",
    ),
    "as_json": click.option(
        "--json", "as_json", is_flag=True, help="Print the result as JSON, for programs."
    ),
    "dry_run": click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing."),
    "verbose": click.option(
        "-v",
        "--verbose",
        is_flag=True,
        callback=_note_verbose,
        help="Show the traceback of an unexpected error.",
    ),
}
