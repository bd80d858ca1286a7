"""Reports that take over what earlier ones left: stock coverage.py's bytes, whatever the cache holds."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from coverage import CoverageData
from covfleet.report.cache import file as bundles
from covfleet.report.cache.branch import cache_here
from covfleet.report.cache.file import open_bundle, pack_entry, write_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import stock_bytes
from support.measured import Measured, measure

CONFIG = "[html]\nshow_contexts = true\n"
FRAGMENT, FACTS = 1, 1  # entries


@dataclass
class Project:
    """A measured project, and the cache of its reports."""

    measured: Measured
    folder: Path
    number: int = 0

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"

    @property
    def config(self) -> Path:
        return self.measured.source_dir / ".coveragerc"

    def source(self, name: str) -> Path:
        return self.measured.source_dir / name

    def report(self) -> int:
        """Make the reports with the cache, compare them with stock's, and return how many entries are new."""
        self.number += 1
        ours, stock = (self.folder / f"{who}-{self.number}" for who in ("ours", "stock"))
        made, cache = stock_bytes.ours(
            self.measured.source_dir, self.measured.data_file, ours, 1, self.bundle
        )
        assert made.proof.holds
        stock_bytes.stock(self.measured.source_dir, self.measured.data_file, stock)
        expected, found = stock_bytes.contents(stock), stock_bytes.contents(ours)
        names = sorted(expected.keys() | found.keys())
        assert [name for name in names if expected.get(name) != found.get(name)] == []
        return len(cache.made)

    @contextlib.contextmanager
    def data(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.measured.data_file)) as db, db:
            yield db


@pytest.fixture(params=["statements", "branches"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """A project of five sources whose reports were made once."""
    branch = request.param == "branches"
    project = Project(measure(tmp_path / "p", branch=branch, contexts=True, config=CONFIG), tmp_path)
    assert project.report() == 5 * (FRAGMENT + FACTS)
    return project


def test_nothing_is_made_again_if_nothing_changed(project: Project) -> None:
    assert project.report() == 0


def test_a_page_that_is_taken_over_is_the_same_to_the_last_byte(project: Project) -> None:
    first = {path.name: path.read_bytes() for path in (project.folder / "ours-1/html").glob("z_*.html")}
    stamp = b"created at"
    for name, page in first.items():
        assert stamp in page, name
    project.report()
    second = {path.name: path.read_bytes() for path in (project.folder / "ours-2/html").glob("z_*.html")}
    assert first == second


def test_an_edited_source_is_made_again_and_no_other(project: Project) -> None:
    source = project.source("shop/prices.py")
    source.write_text(source.read_text() + "\n\ndef more():\n    return 1\n")
    assert project.report() == FRAGMENT + FACTS
    assert project.report() == 0


def test_a_source_that_was_edited_back_is_found_again(project: Project) -> None:
    source = project.source("shop/prices.py")
    before = source.read_text()
    source.write_text("# gone\n")
    project.report()
    source.write_text(before)
    assert project.report() == 0


def test_a_source_is_not_parsed_again_if_only_its_coverage_changed(project: Project) -> None:
    with project.data() as db:
        for table in ("line_bits", "arc"):
            db.execute(
                f"delete from {table} where file_id = (select id from file where path like '%prices.py')"
            )
    assert project.report() == FRAGMENT


def test_another_test_changes_the_pages_of_what_it_ran_only(project: Project) -> None:
    data = CoverageData(str(project.measured.data_file))
    data.read()
    data.set_context("suite.test_another")
    if data.has_arcs():
        data.add_arcs({"shop/unused.py": [(-1, 2), (2, -1)]})
    else:
        data.add_lines({"shop/unused.py": [2]})
    data.close()
    assert project.report() == FRAGMENT


def test_a_context_of_another_name_is_another_page(project: Project) -> None:
    with project.data() as db:
        db.execute("update context set context = 'renamed' where context like '%test_net'")
    assert project.report() > 0


def test_the_numbers_of_files_and_contexts_are_without_effect(project: Project) -> None:
    with project.data() as db:
        for table, column in (("file", "id"), ("context", "id")):
            db.execute(f"update {table} set {column} = {column} + 1000")
        for table in ("line_bits", "arc"):
            db.execute(f"update {table} set file_id = file_id + 1000, context_id = context_id + 1000")
    assert project.report() == 0


def test_contexts_in_json_have_the_order_that_the_data_gives_them(project: Project) -> None:
    project.config.write_text(f"{project.config.read_text()}[json]\nshow_contexts = true\n")
    project.report()
    with project.data() as db:
        db.execute("update context set id = 1000 - id")
        for table in ("line_bits", "arc"):
            db.execute(f"update {table} set context_id = 1000 - context_id")
    project.report()


@pytest.mark.parametrize(
    "setting",
    [
        "[html]\ntitle = Another <title>",
        "[html]\nextra_css = own.css",
        "[html]\nshow_contexts = false",
        "[html]\nskip_covered = true",
        "[html]\nskip_empty = true",
        "[report]\nskip_covered = true",
        "[report]\nskip_empty = true",
        "[report]\nprecision = 2",
        "[report]\nshow_missing = true",
        "[report]\ncontexts = .*net",
        "[report]\npartial_branches = limit",
        "[json]\npretty_print = true",
        "[json]\nshow_contexts = true",
        "[lcov]\nline_checksums = true",
        "[xml]\npackage_depth = 1",
    ],
)
def test_other_settings_give_what_stock_gives_with_them(project: Project, setting: str) -> None:
    project.source("own.css").write_text("h1 { color: teal }\n")
    config = CONFIG if setting.endswith("show_contexts = true") or "[html]" not in setting else ""
    run, _, _ = project.config.read_text().partition(CONFIG)
    project.config.write_text(f"{run}{config}{setting}\n")
    assert project.report() % 5 == 0
    assert project.report() == 0


def test_other_rules_of_exclusion_make_all_again(project: Project) -> None:
    project.config.write_text(f"{project.config.read_text()}[report]\nexclude_also = def tiers\n")
    assert project.report() == 5 * (FRAGMENT + FACTS)


def test_another_style_sheet_of_the_same_name_makes_the_pages_again(project: Project) -> None:
    sheet = project.source("own.css")
    project.config.write_text(f"{project.config.read_text()}extra_css = own.css\n")
    for content in ("h1 { color: teal }\n", "h1 { color: red }\n"):
        sheet.write_text(content)
        assert project.report() == 5 * FRAGMENT


def test_a_renamed_source_is_made_again_under_its_name(project: Project) -> None:
    project.source("shop/prices.py").rename(project.source("shop/costs.py"))
    with project.data() as db:
        db.execute("update file set path = replace(path, 'prices', 'costs')")
    assert project.report() >= FRAGMENT


def test_two_sources_of_the_same_content_stay_apart(project: Project) -> None:
    project.source("shop/unused.py").write_text(project.source("shop/stock.py").read_text())
    with project.data() as db:
        for table in ("line_bits", "arc"):
            db.execute(f"delete from {table} where file_id in (select id from file where path like '%/%')")
    project.report()
    assert project.report() == 0


def test_pages_link_to_their_new_neighbours(project: Project) -> None:
    kept = project.measured.data_file.read_bytes()
    with project.data() as db:
        db.execute("delete from file where path = 'shop/prices.py'")
    project.report()  # removed
    assert project.report() == 0
    project.measured.data_file.write_bytes(kept)
    project.report()  # and added again
    assert project.report() == 0


def test_a_source_that_cannot_be_read_is_an_error_as_before(project: Project) -> None:
    project.source("shop/prices.py").write_text("def (:\n")
    project.config.write_text(f"{project.config.read_text()}[report]\nignore_errors = true\n")
    project.report()
    project.source("shop/prices.py").unlink()
    project.report()


def test_nothing_is_kept_of_what_a_plugin_reads(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.folder / "templates_plugin.py").write_text(stock_bytes.PLUGIN)
    monkeypatch.syspath_prepend(project.folder)
    config = project.config.read_text().replace("[run]", "[run]\nplugins = templates_plugin")
    project.config.write_text(config)
    with project.data() as db:
        stock = "select id, 'templates_plugin.Templates' from file where path like '%stock.py'"
        db.execute(f"insert into tracer (file_id, tracer) {stock}")
    project.bundle.unlink()
    assert project.report() == 4 * (FRAGMENT + FACTS)
    assert project.report() == 0


def flipped(content: bytearray, chance: random.Random) -> bytes:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def cut(content: bytearray, chance: random.Random) -> bytes:
    return bytes(content[: chance.randrange(len(content))])


def zeroed(content: bytearray, chance: random.Random) -> bytes:
    begin = chance.randrange(len(content))
    end = min(len(content), begin + 4096)
    content[begin:end] = bytes(end - begin)
    return bytes(content)


def longer(content: bytearray, chance: random.Random) -> bytes:
    begin = chance.randrange(len(content))
    return bytes(content[:begin] + chance.randbytes(100) + content[begin:])


def other_format(content: bytearray, chance: random.Random) -> bytes:
    return bytes(content).replace(b"covfleet reports 1", b"covfleet reports 0", 1)


@pytest.mark.parametrize("damage", [flipped, cut, zeroed, longer, other_format])
@pytest.mark.parametrize("seed", range(2))
def test_a_damaged_bundle_changes_no_byte(
    project: Project, damage: Callable[[bytearray, random.Random], bytes], seed: int
) -> None:
    project.bundle.write_bytes(damage(bytearray(project.bundle.read_bytes()), random.Random(seed)))
    project.report()
    assert project.report() == 0  # what was damaged has been replaced


def entries_of(path: Path) -> dict[str, bytes]:
    bundle = open_bundle(path)
    assert bundle
    with bundle:
        return {key: bundle.entry(key) or b"" for key in bundle.places}


def test_an_entry_under_the_key_of_another_is_none(project: Project) -> None:
    entries = entries_of(project.bundle)
    moved = zip(entries, [*list(entries.values())[1:], next(iter(entries.values()))], strict=True)
    write_bundle(project.bundle, [(key, 0, entry) for key, entry in moved])  # with proofs that fit
    assert project.report() == 5 * (FRAGMENT + FACTS)
    assert project.report() == 0


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"null", b"\xff\n", b'{"sizes": [-1, 2, 3]}\n', b"[]\n[]", b'{"statements": 1}']
)
def test_an_entry_that_holds_something_else_is_none(project: Project, content: bytes) -> None:
    keys = entries_of(project.bundle)
    write_bundle(project.bundle, [(key, 0, pack_entry(key, content)) for key in keys])
    assert project.report() == 5 * (FRAGMENT + FACTS)
    assert project.report() == 0


def test_an_entry_larger_than_any_is_not_unpacked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "_LARGEST_ENTRY", 100)
    assert project.report() == 5 * (FRAGMENT + FACTS)


def test_entries_are_forgotten_when_nobody_used_them_for_long(project: Project) -> None:
    before = entries_of(project.bundle).keys()
    project.config.write_text(f"{project.config.read_text()}[report]\nexclude_also = def tiers\n")
    for _ in range(5):
        project.report()
        assert before < entries_of(project.bundle).keys()
    project.report()
    assert not before & entries_of(project.bundle).keys()


AT_ONCE = """
import sys
from pathlib import Path
from covfleet.report.rendering import Rendering, render
from covfleet.report.cache.branch import cache_here

data, sources, out, folder = map(Path, sys.argv[1:])
for number in range(4):
    into, scratch = out / str(number), out / f"{number}.scratch"
    into.mkdir(parents=True)
    scratch.mkdir()
    with cache_here(folder, print) as cache:
        render(Rendering(data, sources, into, scratch, False, "", "complete", 1, cache))
        cache.made.setdefault(f"{out}-{number}", b"")  # always news
"""


def test_reports_that_are_made_at_once_share_a_cache(project: Project) -> None:
    outs = [project.folder / f"at-once-{number}" for number in range(3)]
    sources, data = project.measured.source_dir, project.measured.data_file
    commands = [[sys.executable, "-c", AT_ONCE, data, sources, out, project.folder / "cache"] for out in outs]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
    assert [process.communicate()[0] for process in processes] == [b"", b"", b""]
    expected = stock_bytes.contents(project.folder / "stock-1")
    for out in outs:
        for number in range(4):
            assert stock_bytes.contents(out / str(number)) == expected
    assert [path.name for path in (project.folder / "cache").iterdir()] == ["reports"]


def test_a_cache_that_cannot_be_written_is_told_and_costs_no_report(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "cache").write_text("a file in the way")
    with cache_here(tmp_path / "cache", told.append) as cache:
        cache.made["key"] = b""
    assert len(told) == 1
    assert "can't be kept" in told[0]


def test_a_damaged_cache_of_this_machine_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "reports").write_text("something else")
    with cache_here(tmp_path, told.append) as cache:
        assert cache.bundles == ()
    assert "starts anew" in told[0]


LINES = st.sampled_from(
    [
        "x = 1",
        "def f(a):\n    if a:\n        return 1\n    return 2",
        "class C:\n    def m(self):\n        return [i for i in ()]",
        "if x:  # pragma: no cover\n    y = 2",
        "text = '''<b>\n&amp;'''",
        "for i in range(3):\n    pass",
    ]
)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["a.py", "b.py", "pkg/c.py"]),
        st.lists(LINES, max_size=4).map(lambda lines: "\n".join(["x = 0", *lines, ""])),
        st.sets(st.integers(1, 9), max_size=9),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EDITS)
def test_any_edits_of_sources_and_coverage_give_what_stock_gives(
    tmp_path: Path, edits: list[tuple[str, str, set[int]]]
) -> None:
    folder = tmp_path / os.urandom(8).hex()
    sources = folder / "project"
    (sources / "pkg").mkdir(parents=True)
    (sources / ".coveragerc").write_text("[run]\nrelative_files = true\n")
    project = Project(Measured(sources, folder / "data"), folder)
    covered: dict[str, set[int]] = {}
    for name, text, lines in edits:
        (sources / name).write_text(text)
        covered[name] = {line for line in lines if line <= text.count("\n")}
        project.measured.data_file.unlink(missing_ok=True)
        data = CoverageData(str(project.measured.data_file))
        data.add_lines(covered)
        data.write()
        data.close()
        project.report()
        assert project.report() == 0
    shutil.rmtree(folder)
