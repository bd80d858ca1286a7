"""The page of commands: what ``covfleet COMMAND --help`` says, in Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click
from covfleet.cli import app
from covfleet.commands.common.options import Command

from reference.markdown import anchor, page, table

_INTRO = """\
This page holds what `covfleet COMMAND --help` prints. Results go to standard output, everything else to
standard error; bars appear only on a terminal. [Settings](settings.md) lists the variables, and
[Exit codes](exit-codes.md) says how a command ends.

Of `--json`, [JSON forms](json.md) shows what each command prints.
"""


def commands_page() -> str:
    """Return the page: a list of the commands, then a section for each."""
    sections = [_section(name, command) for name, command in walk(app)]
    return page("Commands", "`pipeline/covfleet/commands/`", _INTRO, _contents(), *sections)


def walk(group: click.Group, prefix: str = "covfleet") -> Iterator[tuple[str, click.Command]]:
    """Yield every command under its whole name, in the order of the help."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from walk(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def _contents() -> str:
    rows = [
        (f"[`{name}`](#{anchor(name)})", (command.help or "").split("\n\n")[0]) for name, command in walk(app)
    ]
    return table(("command", "what it does"), rows)


def _section(name: str, command: click.Command) -> str:
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    usage = " ".join(
        [name, "[OPTIONS]", *(param.metavar or param.human_readable_name.upper() for param in arguments)]
    )
    flags = [_row(param) for param in command.params if isinstance(param, click.Option)]
    parts = [
        f"## `{name}` {{#{anchor(name)}}}",
        f"```text\n{usage}\n```",
        inspect.cleandoc(command.help or ""),
        table(("option", "meaning"), flags),
        _examples(command),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part)


def _row(option: click.Option) -> tuple[str, str]:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" `{option.metavar or _choices(option)}`"
    shown = f" Default: `{option.default:g}`." if option.show_default and not option.is_flag else ""
    again = " May be repeated." if option.multiple and "repeated" not in (option.help or "") else ""
    text = re.sub(r"\[(COVFLEET_\w+)\]", r"[`\1`]", option.help or "")
    return names + value, text + shown + again


def _choices(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return option.type.name.upper().removesuffix(" RANGE")


def _examples(command: click.Command) -> str:
    if not isinstance(command, Command):
        return ""
    lines = [f"# {meaning}\n{line}" for line, meaning in command._examples]
    return "```sh\n" + "\n\n".join(lines) + "\n```"
