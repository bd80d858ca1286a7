"""Merging in advance: any order, any restarts, any moment of death give what merging at once does."""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from covfleet.combine.contents import CheckedData
from covfleet.combine.growing import Growing
from covfleet.combine.merge import merge
from covfleet.combine.verify import LocalData, check, data_file
from covfleet.errors import ConfigurationError
from support.datafiles import write_data
from support.dataset_equal import api_view, raw_digest

OWN = {"a.py": "a.py", "/agent/b.py": "b.py", "b.py": "b.py", "c.html": "c.html"}
PATHS = {**OWN, "/tmp/x.py": None}
Checked = dict[str, CheckedData]


def checked(path: Path) -> Checked:
    told = data_file(path, path.name)
    found = check(LocalData(path, path.name, told))
    assert isinstance(found, CheckedData), found
    return {told.sha256: found}


def statement_files(folder: Path) -> list[Path]:
    return [
        write_data(folder / "1", {"": {"a.py": [1, 2], "/tmp/x.py": [1]}, "t1|run": {"a.py": [7]}}),
        write_data(folder / "2", {"": {"a.py": [9], "/agent/b.py": [3]}, "t1|run": {"a.py": [8]}}),
        write_data(folder / "3", {"t2|run": {"b.py": [4]}}, touched=["c.html"], tracers={"c.html": "p.T"}),
        write_data(folder / "4", {}, touched=["a.py"]),
    ]


def branch_files(folder: Path) -> list[Path]:
    rows = [
        {"": {"a.py": [(-1, 1), (1, 2)]}, "t1|run": {"b.py": [(1, 2)]}},
        {"": {"a.py": [(1, 3)], "/agent/b.py": [(1, 2)]}},
        {"t2|run": {"/agent/b.py": [(2, 3)], "a.py": [(1, 2)]}},
    ]
    return [write_data(folder / f"{at}", each, branch=True) for at, each in enumerate(rows)]


def at_once(files: Sequence[Path], out: Path) -> dict[str, str]:
    merge(files, out, own=OWN)
    return raw_digest(out)


def grow(file: Path, some: Iterable[Path]) -> None:
    """Be a process that merges some files in advance, and ends."""
    with Growing(file, "build") as growing:
        for path in some:
            growing.grow(checked(path), PATHS)


@pytest.mark.parametrize("make", [statement_files, branch_files])
def test_every_order_and_every_restart_gives_the_same_data(tmp_path: Path, make) -> None:
    files = make(tmp_path / "files")
    expected = at_once(files, tmp_path / "expected")
    for number, order in enumerate(itertools.permutations(files)):
        file = tmp_path / f"growing-{number}"
        for restart in range(len(order)):  # a process for each data file
            grow(file, order[restart : restart + 1])
        with Growing(file, "build") as growing:
            assert growing.is_of({sha for path in files for sha in checked(path)}, OWN)
            growing.finish(tmp_path / "out")
        assert raw_digest(tmp_path / "out") == expected
        assert api_view(tmp_path / "out") == api_view(tmp_path / "expected")
        assert not file.exists()


def test_what_was_merged_is_known_after_a_restart(tmp_path: Path) -> None:
    first, second, third, _ = statement_files(tmp_path / "files")
    grow(tmp_path / "growing", [first, third])
    with Growing(tmp_path / "growing", "build") as growing:
        assert growing.merged.keys() == checked(first).keys() | checked(third).keys()
        assert growing.merged[next(iter(checked(third)))].tracers == (("c.html", "p.T"),)
        assert growing.merged[next(iter(checked(first)))].executed == {"a.py", "/tmp/x.py"}
        assert not growing.is_of({*growing.merged, *checked(second)}, OWN)
        assert not growing.is_of({*list(growing.merged)[:1]}, OWN)


def test_paths_that_belong_elsewhere_in_the_end_are_noticed(tmp_path: Path) -> None:
    first, second, *_ = statement_files(tmp_path / "files")
    files = checked(first) | checked(second)
    with Growing(tmp_path / "growing", "build") as growing:
        growing.grow(files, {**PATHS, "/agent/b.py": None})  # whose folder that is, a later result tells
        assert not growing.is_of(files.keys(), OWN)
        assert growing.is_of(files.keys(), {path: own for path, own in OWN.items() if path != "/agent/b.py"})


@pytest.mark.parametrize("left", ["other build", "garbage", "truncated", "half-made", "empty"])
def test_what_is_no_beginning_of_this_build_is_replaced(tmp_path: Path, left: str) -> None:
    files = statement_files(tmp_path / "files")
    file = tmp_path / "growing"
    with Growing(file, "other" if left == "other build" else "build") as growing:
        growing.grow(checked(files[0]), PATHS)
    if left == "garbage":
        file.write_bytes(bytes(range(256)) * 64)
    elif left == "truncated":
        file.write_bytes(file.read_bytes()[:-8192])
    elif left == "half-made":
        file.unlink()
        write_data(file, {})
    elif left == "empty":
        file.write_bytes(b"")
    with Growing(file, "build") as growing:
        assert not growing.merged
        for path in files:
            growing.grow(checked(path), PATHS)
        growing.finish(tmp_path / "out")
    assert raw_digest(tmp_path / "out") == at_once(files, tmp_path / "expected")


def test_two_processes_never_grow_the_same_file(tmp_path: Path) -> None:
    files = statement_files(tmp_path / "files")
    with Growing(tmp_path / "growing", "build") as growing:
        growing.grow(checked(files[0]), PATHS)
        with (
            pytest.raises(ConfigurationError, match="another process"),
            Growing(tmp_path / "growing", "build"),
        ):
            pass
        growing.grow(checked(files[1]), PATHS)
    with Growing(tmp_path / "growing", "build") as growing:
        assert len(growing.merged) == 2


def test_a_file_that_was_begun_and_is_missing_in_the_end_is_noticed(tmp_path: Path) -> None:
    files = statement_files(tmp_path / "files")
    file = tmp_path / "growing"
    grow(file, files[:2])
    with sqlite3.connect(file) as connection:  # as if the process had died between begun and merged
        connection.execute("update covfleet_merged set data = null")
    connection.close()
    with Growing(file, "build") as growing:
        assert not growing.merged
        assert not growing.is_of(set(), OWN)
        growing.grow(checked(files[0]), PATHS)
        assert not growing.is_of(checked(files[0]).keys(), OWN)  # rows of the other one may be in it
        growing.grow(checked(files[1]), PATHS)
        assert growing.is_of(checked(files[0]).keys() | checked(files[1]).keys(), OWN)
        growing.finish(tmp_path / "out")
    assert raw_digest(tmp_path / "out") == at_once(files[:2], tmp_path / "expected")


def test_an_interrupt_in_the_middle_of_uniting_is_one(tmp_path: Path, monkeypatch) -> None:
    files = statement_files(tmp_path / "files")

    def interrupted(_lines: int) -> bytes:
        raise KeyboardInterrupt

    with Growing(tmp_path / "growing", "build") as growing:
        growing.grow(checked(files[0]), PATHS)
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr("covfleet.combine.union._numbits", interrupted)
            growing.grow(checked(files[1]), PATHS)
    grow(tmp_path / "growing", files[1:2])  # and nothing of it is lost
    with Growing(tmp_path / "growing", "build") as growing:
        growing.finish(tmp_path / "out")
    assert raw_digest(tmp_path / "out") == at_once(files[:2], tmp_path / "expected")


GROWS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_growing import PATHS, checked
from covfleet.combine.growing import Growing
with Growing(Path(sys.argv[1]), "build") as growing:
    for path in sorted(Path(sys.argv[2]).iterdir()):
        new = {sha: data for sha, data in checked(path).items() if sha not in growing.merged}
        if new:
            print("begins", flush=True)
            growing.grow(new, PATHS)
print("ends", flush=True)
"""


@pytest.mark.parametrize("branch", [False, True])
def test_kill_9_at_any_moment_loses_nothing_and_doubles_nothing(tmp_path: Path, branch: bool) -> None:
    chance = random.Random(f"{branch}")
    for number in range(16):
        rows = {
            context: {
                path: [(line, line + 1) if branch else line for line in chance.sample(range(1, 2000), 120)]
                for path in ("a.py", "/agent/b.py", "b.py")
            }
            for context in ("", "shared|run", *(f"t{number}.{test}|run" for test in range(20)))
        }
        write_data(tmp_path / "files" / f"{number:02}", rows, branch=branch)
    files = sorted((tmp_path / "files").iterdir())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", GROWS, tmp_path / "growing", tmp_path / "files", Path(__file__).parent]
    kills, said = 0, ""
    while said != "ends\n":
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout
        for _ in range(chance.randint(1, 4)):  # it is killed in the middle of one of the next files
            if (said := process.stdout.readline()) == "ends\n":
                break
        time.sleep(chance.uniform(0, 0.01))
        kills += said == "begins\n"
        process.kill()
        process.communicate()
    assert kills >= 4
    with Growing(tmp_path / "growing", "build") as growing:
        assert growing.is_of({sha for path in files for sha in checked(path)}, OWN)
        growing.finish(tmp_path / "out")
    assert raw_digest(tmp_path / "out") == at_once(files, tmp_path / "expected")
