"""A group of commands that imports a command's module when it is called, not to list it."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

import click

Sections = Mapping[str, Mapping[str, tuple[str, str]]]
"""Title -> name of a command -> its location (``module:attribute``) and its line in the list."""


class LazyGroup(click.Group):
    """A group that lists its commands under titles, in the given order."""

    def __init__(self, *args: Any, sections: Sections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help text."""
        del ctx
        return [name for section in self._sections.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command; ``None`` if no command has that name."""
        del ctx
        places = {name: place for section in self._sections.values() for name, (place, _) in section.items()}
        if cmd_name not in places:
            return None
        module, _, attribute = places[cmd_name].partition(":")
        found = getattr(importlib.import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for an unknown name, suggest a similar one."""
        close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if close:
                raise click.UsageError(f"{error.message} Perhaps you meant {close[0]}.", ctx) from error
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections with their columns aligned."""
        width = max(len(name) for name in self.list_commands(ctx))
        for title, commands in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), what) for name, (_, what) in commands.items()])
