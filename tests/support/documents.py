"""The documentation as tests read it: its files, its code, its commands and its links."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from covfleet import cli
from covfleet.commands.common.options import Invocation
from reference.forms import FORMS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TOP = tuple(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"))
FILES = (*TOP, ROOT / "tests" / "README.md", *sorted(DOCS.rglob("*.md")))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_STEP = re.compile(r"^(- )?(run: )?(\w+=\S+ )*(uvx --from \S+ )?(?=covfleet )")


def blocks(text: str, *languages: str) -> Iterator[str]:
    """Yield the fenced code of these languages."""
    for language, code in _FENCE.findall(text):
        if language in languages:
            yield code


def inline(text: str) -> list[str]:
    """Return the code that stands inside the text."""
    return [code.replace("\\|", "|") for code in _INLINE.findall(_FENCE.sub("", text))]


def shell_lines(text: str) -> Iterator[str]:
    """Yield every line that a shell would run: of shell code, and of the steps of CI systems."""
    for code in blocks(text, "sh", "yaml"):
        for line in code.splitlines():
            yield _STEP.sub("", line.strip())


def words(line: str) -> list[str]:
    """Split a command line up to the next command, a pipe or a comment; variables become a number."""
    line = re.sub(r"\$\{\{.*?\}\}|\$\w+", "7", line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    found = []
    for word in lexer:
        if set(word) <= set("|&;<>"):
            break
        found.append(word)
    return found


def parse(arguments: list[str]) -> None:
    """Let a command of covfleet parse its arguments, without running it.

    Raises:
        click.UsageError: there is no such command or option, or an argument is missing or wrong.
    """
    command: click.Command = cli.app
    context = click.Context(command)
    while isinstance(command, click.Group):
        _, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command, context = found, click.Context(found, parent=context)
    with contextlib.suppress(click.exceptions.Exit):  # of --help
        command.make_context(command.name, arguments, obj=Invocation())


def anchors(path: Path) -> set[str]:
    """Return what a link may point to inside a Markdown file: explicit anchors, and GitHub's of headings."""
    text = _FENCE.sub("", path.read_text("utf-8"))
    found = set(re.findall(r"\{#([\w-]+)\}", text))
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        found.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return found


def documented(command: str) -> tuple[set[str], set[str]]:
    """Return the keys that a command's JSON must have as documented, and those that it may have."""
    [form] = [form for form in FORMS if form.command == command]
    if form.document is not None:
        return {field.name for field in fields(form.document)}, set()
    must = set(form.keys) - {"…"}
    if "…" in form.keys:
        must |= {field.name for field in fields(form.types[0])}
    optional = {key for key, meaning in form.keys.items() if meaning.startswith("Only with")}
    return must - optional, optional


def assert_documented(command: str, value: dict[str, Any]) -> None:
    """Assert that what a command printed has the keys that docs/reference/json.md names, and no others."""
    must, may = documented(command)
    assert must <= set(value) <= must | may, (command, set(value) ^ must)
