"""Every table of figures names the command that measures it again, and that command exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from benchmarks.__main__ import make_parser
from checks.equality import parsed
from support.documents import DOCS, FILES, shell_lines, words

PAGES = [DOCS / "explanation" / name for name in ("speed.md", "measuring-core.md", "equality.md")]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_table_of_figures_is_followed_by_its_command(path: Path):
    parts = re.split(r"\n\n+", path.read_text("utf-8"))
    tables = [number for number, part in enumerate(parts) if part.startswith("|")]
    assert tables
    for number in tables:
        code = parts[number + 1]
        assert re.match(r"```sh\nscripts/(bench|equality) ", code), f"no command below:\n{parts[number]}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_figures_outside_of_tables_stand_on_a_page_that_says_when_and_where(path: Path):
    text = path.read_text("utf-8")
    assert re.search(r"[Mm]easured\s+20\d\d-\d\d-\d\d", text)


def test_commands_that_measure_are_ones_that_the_scripts_take(capsys: pytest.CaptureFixture[str]):
    found = 0
    for line in (line for path in FILES for line in shell_lines(path.read_text("utf-8"))):
        name, *arguments = words(line) or [""]
        try:
            if name.endswith("scripts/bench"):
                make_parser().parse_args(arguments)
            elif name.endswith("scripts/equality"):
                parsed(arguments)
            else:
                continue
        except SystemExit as exit_:
            raise AssertionError(f"{line}: {capsys.readouterr().err}") from exit_
        found += 1
    assert found
