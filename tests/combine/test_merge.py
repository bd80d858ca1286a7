"""Merging: the same as stock ``coverage combine``, whatever the order, the split and the duplicates."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from covfleet.combine.merge import merge
from covfleet.errors import IncompleteDataError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.datafiles import tampered, write_data
from support.dataset_equal import api_view, raw_digest

FILES = ("a.py", "pkg/b.py", "pkg/c.html")
OWN = {name: name for name in FILES}
CONTEXTS = ("", "tests/t.py::one|run", "tests/t.py::two|run")
LINES = st.sets(st.integers(0, 90), max_size=8)
ARCS = st.sets(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), max_size=8)


def shards_of(numbers: st.SearchStrategy) -> st.SearchStrategy:
    files = st.dictionaries(st.sampled_from(FILES), numbers, max_size=3)
    return st.lists(st.dictionaries(st.sampled_from(CONTEXTS), files, max_size=3), min_size=1, max_size=5)


def stock_combine(files: list[Path], out: Path) -> Path:
    command = [sys.executable, "-m", "coverage", "combine", "-q", "--keep", f"--data-file={out}"]
    subprocess.run([*command, *map(str, files)], check=True, cwd=out.parent, capture_output=True)
    return out


@pytest.mark.parametrize("order", list(itertools.permutations((0, 1))))
def test_branch_and_statement_data_are_refused_in_any_order(tmp_path: Path, order: tuple[int, int]) -> None:
    files = [
        write_data(tmp_path / "lines", {"": {"a.py": [1]}}),
        write_data(tmp_path / "arcs", {"": {"a.py": [(1, 2)]}}, branch=True),
    ]
    before = [file.read_bytes() for file in files]
    out = tmp_path / "out"
    out.write_bytes(b"an earlier result")
    with pytest.raises(IncompleteDataError, match=r"branch measurements|line measurements"):
        merge([files[at] for at in order], out, own=OWN)
    assert [file.read_bytes() for file in files] == before
    assert out.read_bytes() == b"an earlier result"
    assert {path.name for path in tmp_path.iterdir()} == {"lines", "arcs", "out"}


@pytest.mark.parametrize("order", list(itertools.permutations((0, 1))))
def test_branch_and_statement_data_without_rows_are_refused_too(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    files = [
        write_data(tmp_path / "lines", {}, touched=["a.py"]),
        write_data(tmp_path / "arcs", {}, branch=True, touched=["a.py"]),
    ]
    with pytest.raises(IncompleteDataError):
        merge([files[at] for at in order], tmp_path / "out", own=OWN)


def test_branch_data_stays_branch_data_without_a_single_row(tmp_path: Path) -> None:
    file = write_data(tmp_path / "arcs", {}, branch=True, touched=["a.py"])
    merge([file], tmp_path / "out", own=OWN)
    view = api_view(tmp_path / "out")
    assert view["branch"] is True
    assert view["a.py"] == ("", [], [], {})


@pytest.mark.parametrize("order", list(itertools.permutations((0, 1))))
def test_a_file_that_says_nothing_of_its_kind_fits_branch_data(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    silent = write_data(tmp_path / "silent", {}, branch=True, touched=["pkg/b.py"])
    files = [
        tampered(
            silent, "delete from meta"
        ),  # as update() leaves it for a subprocess that only touched files
        write_data(tmp_path / "arcs", {"": {"a.py": [(1, 2)]}}, branch=True),
    ]
    merge([files[at] for at in order], tmp_path / "out", own=OWN)
    view = api_view(tmp_path / "out")
    assert (view["branch"], view["a.py"][2], view["pkg/b.py"][2]) == (True, [(1, 2)], [])


def test_the_hash_in_a_name_means_nothing(tmp_path: Path) -> None:
    names = [f".coverage.host.pid1.X{random}x.H0123456789h" for random in ("aaaaaa", "bbbbbb")]
    files = [write_data(tmp_path / name, {"": {"a.py": [at]}}) for at, name in enumerate(names, start=1)]
    merge(files, tmp_path / "out", own=OWN)
    assert api_view(tmp_path / "out")["a.py"][1] == [1, 2]


def test_inputs_are_neither_changed_nor_deleted(tmp_path: Path) -> None:
    files = [write_data(tmp_path / f"in/{at}", {"": {"a.py": [at]}}) for at in (1, 2)]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    merge(files, tmp_path / "out", own=OWN)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files} == before
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["1", "2"]


def test_what_is_outside_the_project_leaves_no_trace(tmp_path: Path) -> None:
    secret = "/home/ops/credentials.py"
    files = [
        write_data(
            tmp_path / "1",
            {"t": {"a.py": [1], secret: [1], "/tmp/x.html": [2]}},
            tracers={"/tmp/x.html": "p.T"},
        ),
        write_data(tmp_path / "2", {"t": {"a.py": [2], "/tmp/x.html": [3]}}, touched=["/tmp/y.py"]),
    ]
    inside = [
        write_data(tmp_path / "3", {"t": {"a.py": [1]}}),
        write_data(tmp_path / "4", {"t": {"a.py": [2]}}),
    ]
    merge(files, tmp_path / "out", own=OWN)
    merge(inside, tmp_path / "expected", own=OWN)
    assert raw_digest(tmp_path / "out") == raw_digest(tmp_path / "expected")
    assert secret.encode() not in (tmp_path / "out").read_bytes()


def test_one_source_under_several_roots_becomes_one_file(tmp_path: Path) -> None:
    files = [write_data(tmp_path / str(at), {"": {f"/agent{at}/a.py": [at]}}) for at in (1, 2)]
    merge(files, tmp_path / "out", own={"/agent1/a.py": "a.py", "/agent2/a.py": "a.py"})
    assert api_view(tmp_path / "out")["a.py"][1] == [1, 2]


def test_nothing_at_all_gives_an_empty_result(tmp_path: Path) -> None:
    merge([], tmp_path / "out", own={})
    assert api_view(tmp_path / "out") == {"branch": False, "contexts": []}


def test_two_tracers_for_one_file_are_refused(tmp_path: Path) -> None:
    files = [
        write_data(tmp_path / name, {"": {"pkg/c.html": [1]}}, tracers={"pkg/c.html": name})
        for name in ("p.A", "p.B")
    ]
    with pytest.raises(IncompleteDataError, match="tracer"):
        merge(files, tmp_path / "out", own=OWN)


def test_a_file_that_is_no_data_file_after_all_leaves_the_earlier_result(tmp_path: Path) -> None:
    bad = tampered(
        write_data(tmp_path / "bad", {"": {"a.py": [1]}}), "update coverage_schema set version = 8"
    )
    out = tmp_path / "out"
    out.write_bytes(b"an earlier result")
    with pytest.raises(IncompleteDataError, match="schema"):
        merge([bad], out, own=OWN)
    assert out.read_bytes() == b"an earlier result"


@pytest.mark.parametrize("branch", [False, True])
def test_the_result_is_that_of_stock_combine(tmp_path: Path, branch: bool) -> None:
    def numbers(seed: int) -> list:
        return [(seed, seed + 1), (-1, seed)] if branch else [seed, seed + 9]

    folder = tmp_path / "in"
    files = [
        write_data(
            folder / f".coverage.{at}",
            {context: {"a.py": numbers(at), "pkg/c.html": numbers(at + 3)} for context in CONTEXTS[: at + 1]},
            branch=branch,
            touched=["pkg/b.py"],
            tracers={"pkg/c.html": "plugin.Tracer"},
        )
        for at in range(3)
    ]
    merge(files, tmp_path / "out", own=OWN)
    stock = stock_combine(files, tmp_path / "stock")
    assert raw_digest(tmp_path / "out") == raw_digest(stock)
    assert api_view(tmp_path / "out") == api_view(stock)


@pytest.mark.parametrize("branch", [False, True])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_order_split_and_duplicates_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, branch: bool, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    shards = data.draw(shards_of(ARCS if branch else LINES))
    files = [write_data(folder / str(at), rows, branch=branch) for at, rows in enumerate(shards)]
    shuffled = data.draw(st.permutations(files + data.draw(st.lists(st.sampled_from(files), max_size=2))))
    merge(files, folder / "plain", own=OWN)
    merge(shuffled, folder / "shuffled", own=OWN)
    assert raw_digest(folder / "plain") == raw_digest(folder / "shuffled")

    half = data.draw(st.integers(0, len(files)))
    merge(files[:half], folder / "left", own=OWN)
    merge(files[half:], folder / "right", own=OWN)
    parts = [part for part, inputs in (("left", files[:half]), ("right", files[half:])) if inputs]
    merge([folder / part for part in parts], folder / "joined", own=OWN)
    assert raw_digest(folder / "plain") == raw_digest(folder / "joined")
