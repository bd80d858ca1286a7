"""Escape text for each language of the generated files: Groovy, shell, and YAML with its readers.

XML doesn't need this: a library writes it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import yaml

_GROOVY = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def groovy(text: str) -> str:
    r"""Return ``text`` as a Groovy string literal in single quotes, ASCII only.

    Groovy decodes ``\uXXXX`` before anything else, wherever it occurs: ``\u0027`` would end the literal. So a
    ``u`` after a backslash is written as an octal escape; the only ``\u`` left are those written here, for
    characters without a special meaning. ``$`` has none in single quotes.
    """
    written = []
    before = ""
    for char in text:
        if char in _GROOVY:
            written.append(_GROOVY[char])
        elif char == "u" and before == "\\":
            written.append("\\165")
        elif char.isascii() and char.isprintable():
            written.append(char)
        else:
            units = char.encode("utf-16-be", "surrogatepass").hex()
            written += [f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)]
        before = char
    return f"'{''.join(written)}'"


def shell(words: str | Iterable[str]) -> str:
    """Quote one word, or several with spaces between them, for a POSIX shell.

    Raises:
        ValueError: a word contains a NUL, which no argument can.
    """
    given = [words] if isinstance(words, str) else list(words)
    if any("\0" in word for word in given):
        raise ValueError("no argument of a command can contain a NUL")
    return shlex.join(given)


def yaml_text(text: str) -> str:
    """Return ``text`` as a YAML scalar in double quotes, on one line, ASCII only."""
    written: str = yaml.safe_dump(text, default_style='"', width=float("inf"))
    return written.removesuffix("\n")


def jjb_text(text: str) -> str:
    """Return ``text`` as a YAML scalar in which Jenkins Job Builder expands nothing: braces are doubled."""
    return yaml_text(text.replace("{", "{{").replace("}", "}}"))


def casc_text(text: str) -> str:
    """Return ``text`` as a YAML scalar in which Configuration as Code expands nothing.

    It replaces ``${name}`` with variables and secrets anywhere, except after a ``^``.
    """
    return yaml_text(text.replace("${", "^${"))


def casc_block(text: str, indent: int) -> str:
    """Return ``text`` like ``casc_text``, but as a readable block of lines, indented by ``indent`` spaces.

    Raises:
        ValueError: a block can't contain it: it has an unprintable character, or starts with a space or
            newline.
    """
    lines = text.replace("${", "^${").removesuffix("\n").split("\n")
    if lines[0][:1] in {"", " "} or not all(line.isprintable() for line in lines):
        raise ValueError("the text contains an unprintable character, or starts with a space or newline")
    return "\n".join(["|", *(f"{'':{indent}}{line}" if line else "" for line in lines)])
