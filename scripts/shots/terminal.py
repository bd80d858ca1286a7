"""Runs a command in a terminal of its own, and draws what the terminal shows as SVG."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.text import Text

LINES = 60
# The theme's fonts would come from a CDN; any monospaced font does, as each run of text has its length.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
_ANSI = {"brown": "yellow", "brightblack": "bright_black"}  # pyte's names, and rich's

Moment = list[Text]
"""What a terminal shows, line by line."""


def record(
    command: Sequence[str | Path], cwd: Path, environ: Mapping[str, str], columns: int = 100
) -> Iterator[Moment]:
    """Run a command, and yield what its terminal shows whenever that has changed; the last is the end."""
    screen = pyte.Screen(columns, LINES)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    process = subprocess.Popen(command, cwd=cwd, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    while chunk := _read(ours):
        stream.feed(chunk)
        yield _moment(screen)
    if process.wait():
        raise SystemExit(f"{command} ended with {process.returncode}")


def _read(descriptor: int) -> bytes:
    """Return what comes next; nothing when the command has closed the terminal."""
    select.select([descriptor], [], [])
    try:
        return os.read(descriptor, 65536)
    except OSError:  # so says Linux that the other side is gone
        return b""


def _moment(screen: pyte.Screen) -> Moment:
    lines = [_line(screen, number) for number in range(LINES)]
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def _line(screen: pyte.Screen, number: int) -> Text:
    line = Text()
    for column in range(screen.columns):
        cell = screen.buffer[number][column]
        line.append(cell.data, Style(color=_color(cell.fg), bold=cell.bold))
    line.rstrip()
    return line


def _color(name: str) -> str | None:
    if name == "default":
        return None
    return f"#{name}" if re.fullmatch("[0-9a-f]{6}", name) else _ANSI.get(name, name)


def draw(moment: Moment, title: str, path: Path, hidden: Mapping[str, str]) -> None:
    """Write a moment as SVG; ``hidden`` gives other words for this machine's paths."""
    width = max(len(line) for line in moment)
    console = Console(record=True, width=width + 2, file=io.StringIO(), color_system="truecolor")
    for line in moment:
        for path_here, shown in hidden.items():
            while (at := line.plain.find(path_here)) >= 0:
                line = Text.assemble(line[:at], shown, line[at + len(path_here) :])  # noqa: PLW2901
        console.print(Text.assemble(" ", line), soft_wrap=True)
    path.write_text(console.export_svg(title=title, code_format=_FORMAT, unique_id=path.stem), "utf-8")
