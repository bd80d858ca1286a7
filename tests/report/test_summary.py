"""The summary in Markdown and on a terminal, and the badge: right figures, safe against hostile names."""

from __future__ import annotations

import html
import io
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from covfleet.model import Ledger, Problem, ShardShare, TestOutcome, Totals, Verdict
from covfleet.report.own.badge import badge
from covfleet.report.own.figures import FileFigures
from covfleet.report.own.summary import Summary, read_summary, summarise, to_markdown
from covfleet.report.own.terminal import print_summary
from covfleet.store.encoding import to_json
from covfleet.text import counted, duration, listed, markdown, one_line, printable
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

TOTALS = Totals(
    files=3, statements=3000, covered_statements=2999, branches=7, covered_branches=7, measures_branches=True
)
HOSTILE = (
    "t.py::x[<script>alert(1)</script> | `rm` **b** ![i](http://evil/x.png) \n\n# h\r\n @you \x1b[2J\u202e]"
)
LEDGER = Ledger(
    commit="0123456789abcdef",
    build="7",
    branch="feature/<b>",
    verdict="complete",
    tests_planned=5,
    outcomes={"passed": 3, "failed": 1, "crashed": 1},
    failures=("t.py::a", HOSTILE),
    notes=("shard 2 was restarted | once",),
    shares=(ShardShare(1, 2, 3, 60.0), ShardShare(2, 1, 2, 30.0)),
)
OUTCOMES = (
    TestOutcome("t.py::a", "failed", 1.0, "assert 1 == 2\nmore"),
    TestOutcome(HOSTILE, "crashed", 1.0, "killed by <signal> | 11"),
)
FILES = (
    FileFigures("b|ad.py", 10, 9),
    FileFigures("__init__.py", 0, 0),
    FileFigures("good.py", 10, 0),
    FileFigures("worse.py", 20, 18),
)


def summary_of(**changes: object) -> Summary:
    return summarise(replace(LEDGER, **changes), TOTALS, OUTCOMES, FILES)  # type: ignore[arg-type]


def printed(summary: Summary, out: Path, *, terminal: bool) -> str:
    (out / "summary.json").write_bytes(to_json(summary))
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, _environ={})
    print_summary(console, out)
    return console.file.getvalue()  # type: ignore[attr-defined]


@given(st.text(st.characters()))
@example(HOSTILE)
@example("\\|")
@example("&#124; &lt;")
@example("http://a www.b.c user@example.org <http://x>")
def test_any_text_is_shown_as_it_is_in_a_markdown_table_and_in_html(text: str) -> None:
    source = f"| a | b |\n| - | - |\n| <code>{markdown(text)}</code> | end |\n"
    page = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(source)
    cells = re.findall(r"<td>(.*?)</td>", page, re.DOTALL)
    assert len(cells) == 2
    assert cells[1] == "end"
    inside = cells[0].removeprefix("<code>").removesuffix("</code>")
    assert "<" not in inside
    assert " ".join(html.unescape(inside).split()) == " ".join(printable(text).split())


def test_the_whole_summary_keeps_hostile_names_harmless() -> None:
    page = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(to_markdown(summary_of()))
    assert set(re.findall(r"<(\w+)", page)) <= {
        "h2", "h3", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "code", "br",
        "details", "summary", "a",
    }  # fmt: skip
    assert re.findall(r'<a href="([^"]*)"', page) == ["html/index.html"]
    assert "&lt;script&gt;" in page


def test_the_summary_says_what_a_reader_wants_to_know() -> None:
    text = to_markdown(summary_of())
    assert text.startswith("## Coverage 99.96%\n\n**Complete.**")
    for line in (
        "| Lines | 99.96% | 2,999 of 3,000 |",
        "| Branches | 100.00% | 7 of 7 |",
        "| Tests | 5 | 3 passed, 1 failed, 1 crashed |",
        "| Duration | 1 min 0 s | 2 shards, 1 min 30 s in total |",
        "| Balance | 1.33 | busiest shard relative to the mean |",
        "- <code>t.py::a</code><br>assert 1 &#61;&#61; 2".replace("&#61;", "="),
        "| <code>worse.py</code> | 10.00% | 18 |",
        "| <code>b&#124;ad.py</code> | 10.00% | 9 |",
        "- shard 2 was restarted &#124; once",
    ):
        assert line in text
    assert text.index("worse.py") < text.index("b&#124;ad.py")
    assert "good.py" not in text


def test_a_statement_only_build_shows_no_branches() -> None:
    totals = replace(TOTALS, branches=0, covered_branches=0, measures_branches=False)
    assert "Branches" not in to_markdown(summarise(LEDGER, totals, (), ()))


def test_problems_of_a_partial_build_are_named_and_long_lists_cut() -> None:
    problems = tuple(Problem("missing", f"t.py::{number}", "no result") for number in range(1000))
    failures = tuple(f"t.py::f{number}" for number in range(1000))
    text = to_markdown(summary_of(verdict="partial", problems=problems, failures=failures))
    assert text.startswith("## PARTIAL: coverage 99.96%")
    assert "### 1,000 problems with the data" in text
    assert "- missing: <code>t.py::0</code>: no result" in text
    assert text.count("- and 975 more") == 2


def test_summary_json_comes_back_as_it_was(tmp_path: Path) -> None:
    summary = summary_of()
    (tmp_path / "summary.json").write_bytes(to_json(summary))
    assert read_summary(tmp_path) == summary


def test_without_a_terminal_there_are_plain_lines(tmp_path: Path) -> None:
    text = printed(summary_of(), tmp_path, terminal=False)
    assert "\x1b" not in text
    assert "━" not in text
    assert f"HTML report: {tmp_path / 'html' / 'index.html'}" in text
    assert "Total        99.96%  3,006 of 3,007" in text.splitlines()
    assert f"crashed    {printable(HOSTILE)}" in text.splitlines()
    assert "assert 1 == 2" in text


def test_a_terminal_gets_no_escape_sequence_from_a_test_id(tmp_path: Path) -> None:
    text = printed(summary_of(), tmp_path, terminal=True)
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert "\\x1b[2J" in text


def test_square_brackets_in_names_are_not_markup(tmp_path: Path) -> None:
    text = printed(summary_of(failures=("t.py::x[red]", "t.py::y[/red]")), tmp_path, terminal=False)
    assert "t.py::x[red]" in text
    assert "t.py::y[/red]" in text


@pytest.mark.parametrize("verdict", ["partial", "conflicting"])
def test_the_badge_of_incomplete_data_shows_no_figure(verdict: Verdict) -> None:
    assert verdict in badge(TOTALS, verdict)
    assert "%" not in badge(TOTALS, verdict)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_badge_is_valid_svg_and_never_rounds_up(covered: int, missing: int) -> None:
    totals = Totals(files=1, statements=covered + missing, covered_statements=covered)
    root = ET.fromstring(badge(totals, "complete"))
    shown = re.fullmatch(r"coverage: (\d+\.\d)%", root.attrib["aria-label"])
    assert shown
    assert float(shown[1]) * (covered + missing) <= 100 * covered or not totals.statements
    assert (shown[1] == "100.0") == (missing == 0)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.004, "0 s"),
        (0.42, "0.42 s"),
        (4.25, "4.2 s"),
        (9.97, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (123, "2 min 3 s"),
        (3599.6, "1 h 0 min"),
        (4320, "1 h 12 min"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (0, "test", "0 tests"),
        (1, "batch", "1 batch"),
        (2, "batch", "2 batches"),
        (2, "data file", "2 data files"),
        (1000, "entry", "1,000 entries"),
        (2, "day", "2 days"),
        (2, "process", "2 processes"),
    ],
)
def test_things_are_counted_in_words_that_fit(number: int, noun: str, said: str) -> None:
    assert counted(number, noun) == said


def test_names_are_listed_up_to_a_number_and_the_others_counted() -> None:
    assert listed(["a", "b\x1b"]) == "a, b\\x1b"
    assert listed(range(1, 4), 1) == "1 and 2 more"
    assert listed([], 1) == ""


def test_one_line_is_one_line() -> None:
    assert one_line("\n\n  first\x1b \nsecond") == "first\\x1b"
    assert len(one_line("x" * 1000)) == 160
