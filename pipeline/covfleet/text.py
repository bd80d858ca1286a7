"""Make text from outside (test ids, messages, paths) safe for a terminal, for Markdown and for one line."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MARKDOWN = re.compile(
    r"""
    [^\w\s/.,:()=+-]                           # whatever Markdown or HTML could interpret
    | (?<![0-9A-Za-z])_ | _(?![0-9A-Za-z])     # emphasis; inside a word it is only an underscore
    | :(?=//) | (?<=www)\.                     # URLs, which GitHub turns into links
    """,
    re.VERBOSE | re.IGNORECASE,
)


def printable(text: str) -> str:
    """Return ``text`` with line ends, escape sequences and invisible characters as visible escapes."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def one_line(text: str, limit: int = 160) -> str:
    """Return the first nonblank line of ``text``, printable and truncated to ``limit`` characters."""
    line = printable(next((line.strip() for line in text.splitlines() if line.strip()), ""))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def markdown(text: str) -> str:
    """Escape ``text`` so that Markdown and HTML show it literally, even in a table.

    Special characters become numeric entities, which never start a construct (CommonMark, section 2.5).
    Unlike backslashes, they also work inside table cells and inline HTML.
    """
    return _MARKDOWN.sub(lambda found: f"&#{ord(found[0])};", printable(text))


def duration(seconds: float) -> str:
    """Return a duration in words: ``0.42 s``, ``4.2 s``, ``42 s``, ``2 min 3 s``, ``1 h 12 min``."""
    if seconds < 10:
        return f"{round(seconds, 1 if seconds >= 1 else 2):g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def counted(number: int, noun: str) -> str:
    """Return a number of things: ``1 test``, ``2 batches``, ``1,000 entries``."""
    return f"{number:,} {noun if number == 1 else _plural(noun)}"


def listed(names: Iterable[object], most: int = 10) -> str:
    """Return the first names, printable, and how many more there are: ``a, b and 3 more``."""
    every = [printable(str(name)) for name in names]
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more:,} more" if more > 0 else "")


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"
