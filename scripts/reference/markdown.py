"""Small helpers for generated Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; a ``|`` in a cell is escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def prose(docstring: str) -> str:
    """Return a docstring as Markdown: reStructuredText's double backticks become single ones."""
    return re.sub(r"``(.+?)``", r"`\1`", docstring)


def anchor(name: str) -> str:
    """Return the explicit anchor that a heading called ``name`` gets."""
    return re.sub(r"[^0-9a-z]+", "-", name.lower()).strip("-")


def page(title: str, sources: str, *parts: str) -> str:
    """Return a whole page with the note that says where it comes from."""
    note = (
        f"<!-- Generated from {sources} by `scripts/docs write`. Don't edit this page: change its source. -->"
    )
    return "\n\n".join([note, f"# {title}", *(part.strip("\n") for part in parts)]) + "\n"
