"""The fast way of merging: the same data as coverage.py's own, in whatever comes together."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from covfleet.combine import union
from covfleet.combine.merge import merge
from covfleet.combine.stock import merge_by_api
from covfleet.combine.union import UnfitError, new_union
from covfleet.errors import IncompleteDataError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.datafiles import tampered, write_data
from support.dataset_equal import api_view, raw_digest

NAMES = ("a.py", "pkg/b.py", "pkg/c.html")
ROOTS = ("", "/agent1/", "/agent2/")
OWN = {root + name: name for root in ROOTS for name in NAMES}
OUTSIDE = ("/tmp/x.py", "/usr/lib/y.py")
TRACERS = {path: "p.T" for path in OWN if path.endswith(".html")}
LINES = st.sets(st.integers(0, 90), max_size=6)
ARCS = st.sets(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), max_size=6)
UNHURRIED = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def shards_of(branch: bool) -> st.SearchStrategy:
    paths = st.sampled_from((*OWN, *OUTSIDE))
    files = st.dictionaries(paths, ARCS if branch else LINES, max_size=4)
    rows = st.dictionaries(st.sampled_from(("", "one|run", "two|run", "ü|setup")), files, max_size=3)
    return st.lists(st.tuples(rows, st.sets(paths, max_size=2)), max_size=6)


def write_shards(folder: Path, shards: Sequence[Any], branch: bool) -> list[Path]:
    return [
        write_data(
            folder / f"shard-{at}",
            rows,
            branch=branch,
            touched=touched | (TRACERS.keys() & {path for files in rows.values() for path in files}),
            tracers={path: TRACERS[path] for path in TRACERS.keys() & used(rows, touched)},
        )
        for at, (rows, touched) in enumerate(shards)
    ]


def used(rows: dict, touched: set[str]) -> set[str]:
    return touched.union(*rows.values())


def unite(files: Sequence[Path], out: Path, own: dict[str, str] = OWN) -> Path:
    with new_union(out) as united:
        united.add(files, own)
    return out


def rows_of(path: Path, query: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("branch", [False, True])
def test_another_kind_of_data_is_left_to_coverage_py(tmp_path: Path, branch: bool) -> None:
    numbers = {True: [(1, 2)], False: [1]}
    files = [
        write_data(tmp_path / "1", {"": {"a.py": numbers[branch]}}, branch=branch),
        write_data(tmp_path / "2", {"": {"a.py": numbers[not branch]}}, branch=not branch),
    ]
    with pytest.raises(UnfitError, match="kind"):
        unite(files, tmp_path / "out")


@pytest.mark.parametrize(
    "script",
    [
        "delete from meta where key = 'has_arcs'",
        "update meta set value = '1' where key = 'has_arcs'",
        "update meta set value = 'x' where key = 'has_arcs'",
        "update coverage_schema set version = 6",
        "insert into coverage_schema values (7)",
        "insert into tracer values (1, '')",
    ],
)
def test_what_is_not_known_here_is_left_to_coverage_py(tmp_path: Path, script: str) -> None:
    file = tampered(write_data(tmp_path / "1", {"": {"a.py": [1]}}), script)
    with pytest.raises(UnfitError):
        unite([file], tmp_path / "out")


@pytest.mark.parametrize("order", list(itertools.permutations((0, 1))))
def test_a_file_with_and_without_a_tracer_is_left_to_coverage_py(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    files = [
        write_data(tmp_path / "1", {"": {"pkg/c.html": [1]}}, tracers={"pkg/c.html": "p.T"}),
        write_data(tmp_path / "2", {"": {"pkg/c.html": [1]}}),
    ]
    with pytest.raises(UnfitError, match="tracer"):
        unite([files[at] for at in order], tmp_path / "out")


def test_what_is_left_to_coverage_py_is_merged_all_the_same(tmp_path: Path) -> None:
    files = [
        tampered(write_data(tmp_path / "1", {"t": {"a.py": [1]}}), "delete from meta where key = 'has_arcs'"),
        write_data(tmp_path / "2", {"t": {"a.py": [2]}}),
    ]
    merge(files, tmp_path / "out", own=OWN)
    assert api_view(tmp_path / "out")["a.py"][3] == {1: ["t"], 2: ["t"]}
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2", "out"}


@pytest.mark.parametrize("branch", [False, True])
@UNHURRIED
@given(data=st.data())
def test_the_result_is_that_of_the_public_api(
    tmp_path_factory: pytest.TempPathFactory, branch: bool, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("union")
    files = write_shards(folder, data.draw(shards_of(branch)), branch)
    merge_by_api(files, folder / "expected", OWN)
    shuffled = data.draw(
        st.permutations(
            files + data.draw(st.lists(st.sampled_from(files), max_size=2) if files else st.just([]))
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(union, "_MOST_LEFT_OUT", data.draw(st.sampled_from((0, 8))))
        found = unite(shuffled, folder / "found")
    assert raw_digest(found) == raw_digest(folder / "expected")
    assert rows_of(found, "pragma integrity_check") == [("ok",)]


@pytest.mark.parametrize("branch", [False, True])
@pytest.mark.parametrize("ids", ["id + 10", "id * 3 + 10", "9223372036854775800 + id"])
def test_contexts_may_have_any_numbers(tmp_path: Path, branch: bool, ids: str) -> None:
    numbers = [(1, 2), (2, 3)] if branch else [1, 2]
    table = "arc" if branch else "line_bits"
    contexts = {context: {"a.py": numbers, "pkg/b.py": numbers} for context in ("", "t|run", "u|run")}
    plain = [
        write_data(tmp_path / "1", {"": {"a.py": numbers}, "s|run": {"a.py": numbers}}, branch=branch),
        write_data(tmp_path / "2", contexts, branch=branch),
    ]
    expected = raw_digest(unite(plain, tmp_path / "expected"))
    tampered(
        plain[1],
        f"update {table} set context_id = {ids.replace('id', 'context_id')};"
        f"create temp table moved as select {ids} as id, context from context;"
        "delete from context; insert into context select * from moved",
    )
    assert raw_digest(unite(plain, tmp_path / "found")) == expected
    assert rows_of(tmp_path / "found", "pragma integrity_check") == [("ok",)]


@pytest.mark.parametrize("stray", ["4", "0", "-1", "1.5", "'x'", "null"])
def test_lines_of_no_context_are_refused(tmp_path: Path, stray: str) -> None:
    files = [
        write_data(tmp_path / str(at), {"": {"a.py": [1, 2]}, f"t{at}": {"a.py": [1, 2]}}) for at in range(3)
    ]
    tampered(files[1], f"insert into line_bits values (1, {stray}, x'02')")
    with pytest.raises(IncompleteDataError, match="without a context"):
        unite(files, tmp_path / "out")


@pytest.mark.parametrize("branch", [False, True])
def test_every_order_gives_the_same(tmp_path: Path, branch: bool) -> None:
    def numbers(at: int) -> list:
        return [(at, 5), (5, 6)] if branch else [at, 5]

    files = [
        write_data(
            tmp_path / str(at),
            {
                "": {f"{root}a.py": numbers(at)},
                f"t{at}": {f"{root}pkg/b.py": numbers(at), "a.py": numbers(9)},
            },
            branch=branch,
            touched=["pkg/c.html"] * (at % 2),
        )
        for at, root in enumerate((*ROOTS, ""))
    ]
    merge_by_api(files, tmp_path / "expected", OWN)
    expected = raw_digest(tmp_path / "expected")
    for number, order in enumerate(itertools.permutations(files)):
        assert raw_digest(unite(order, tmp_path / f"out-{number}")) == expected


@pytest.mark.parametrize("branch", [False, True])
def test_stock_combine_with_rules_for_paths_gives_the_same(tmp_path: Path, branch: bool) -> None:
    def numbers(at: int) -> list:
        return [(-1, at), (at, -1)] if branch else [1, at]

    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "a.py").touch()
    (folder / ".coveragerc").write_text("[run]\nrelative_files = true\n[paths]\nall =\n    src\n    */src\n")
    paths = [f"/agent{at}/src/a.py" for at in (1, 2, 3)]
    files = [
        write_data(
            folder / f".coverage.{at}", {f"t{at}": {path: numbers(at)}, "": {path: numbers(9)}}, branch=branch
        )
        for at, path in enumerate(paths)
    ]
    subprocess.run(
        [sys.executable, "-m", "coverage", "combine", "-q", "--keep"], check=True, cwd=folder, timeout=60
    )
    found = unite(files, tmp_path / "found", dict.fromkeys(paths, "src/a.py"))
    assert raw_digest(found) == raw_digest(folder / ".coverage")
    assert api_view(found) == api_view(folder / ".coverage")


@pytest.mark.parametrize("branch", [False, True])
def test_the_file_itself_is_like_one_of_coverage_py(tmp_path: Path, branch: bool) -> None:
    files = [write_data(tmp_path / "1", {"t": {"a.py": [(1, 2)] if branch else [1]}}, branch=branch)]
    found = unite(files, tmp_path / "found")
    merge_by_api(files, tmp_path / "expected", OWN)
    for query in (
        "select type, name, tbl_name, sql from sqlite_master order by name",
        "select key, value from meta order by key",
        "select version from coverage_schema",
        "pragma journal_mode",
        "pragma page_size",
        "pragma encoding",
    ):
        assert rows_of(found, query) == rows_of(tmp_path / "expected", query), query


def test_more_files_than_sqlite_attaches_at_once_are_merged(tmp_path: Path) -> None:
    files = [write_data(tmp_path / f"{at}", {f"t{at % 7}": {"a.py": [at]}}) for at in range(1, 40)]
    view = api_view(unite(files, tmp_path / "out"))
    assert view["a.py"][1] == list(range(1, 40))
    assert view["a.py"][3][8] == ["t1"]


def test_names_of_data_files_mean_nothing_to_sqlite(tmp_path: Path) -> None:
    names = ("with blank", "50%", "a?mode=rw", "b#c", "d'e\"f", "ü")
    files = [write_data(tmp_path / name, {"": {"a.py": [at]}}) for at, name in enumerate(names, start=1)]
    assert api_view(unite(files, tmp_path / "out?x=y#z%41"))["a.py"][1] == [1, 2, 3, 4, 5, 6]


def test_lines_that_do_not_fit_into_memory_are_written_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = [f"t{at}" for at in range(5)]
    files = [
        write_data(tmp_path / str(at), {context: {"a.py": [at], "pkg/b.py": [at, 9]} for context in contexts})
        for at in range(1, 6)
    ]
    merge_by_api(files, tmp_path / "expected", OWN)
    monkeypatch.setattr(union, "_MOST_UNITED", 3)
    assert raw_digest(unite(files, tmp_path / "out")) == raw_digest(tmp_path / "expected")
