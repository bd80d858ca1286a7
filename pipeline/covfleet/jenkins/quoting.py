"""Text made safe for each language of the generated files: Groovy, YAML and what reads it, shell.

XML is written by a library and needs none of this.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import yaml

_GROOVY = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def groovy(text: str) -> str:
    r"""Return ``text`` as a Groovy string literal in single quotes, ASCII only.

    Groovy reads ``\uXXXX`` before anything else, wherever it stands: ``\u0027`` would end the literal. So a
    ``u`` behind a backslash is written as an octal escape, which leaves no ``\u`` but those made here, for
    characters that mean nothing. ``$`` means nothing between single quotes.
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
    """Return one word, or several with blanks between, as a POSIX shell reads them back.

    Raises:
        ValueError: there is a NUL in it, which no argument can hold.
    """
    given = [words] if isinstance(words, str) else list(words)
    if any("\0" in word for word in given):
        raise ValueError("no argument of a command can hold a NUL")
    return shlex.join(given)


def yaml_text(text: str) -> str:
    """Return ``text`` as a YAML scalar in double quotes, on one line, ASCII only."""
    written: str = yaml.safe_dump(text, default_style='"', width=float("inf"))
    return written.removesuffix("\n")


def jjb_text(text: str) -> str:
    """Return ``text`` as a YAML scalar of which Jenkins Job Builder expands nothing: braces are doubled."""
    return yaml_text(text.replace("{", "{{").replace("}", "}}"))


def casc_text(text: str) -> str:
    """Return ``text`` as a YAML scalar of which Configuration as Code expands nothing.

    It replaces ``${name}`` by variables and secrets, anywhere; a ``^`` in front keeps it from that.
    """
    return yaml_text(text.replace("${", "^${"))


def casc_block(text: str, indent: int) -> str:
    """Return ``text`` as ``casc_text`` does, but as a block of lines, readable, ``indent`` blanks deep.

    Raises:
        ValueError: a block can't hold it: an unprintable character, or blanks before the first line.
    """
    lines = text.replace("${", "^${").removesuffix("\n").split("\n")
    if lines[0][:1] in {"", " "} or not all(line.isprintable() for line in lines):
        raise ValueError("the text has an unprintable character, or begins with a blank")
    return "\n".join(["|", *(f"{'':{indent}}{line}" if line else "" for line in lines)])
