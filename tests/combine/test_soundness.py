"""What is sound where it is hashed: damage ends as a named problem, or it changed nothing that is read."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import sqlite3
from pathlib import Path

import pytest
from covfleet.combine.contents import CheckedData
from covfleet.combine.merge import merge
from covfleet.combine.verify import LocalData, check, data_file
from covfleet.errors import IncompleteDataError
from covfleet.model import Problem
from covfleet.store.soundness import LARGEST_LINE, is_sound
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.datafiles import HOSTILE, tampered, write_data
from support.dataset_equal import api_view, raw_digest

NAME = ".coverage.host.pid1.Xabcdefx.H0123456789h"
OWN = {name: name for name in ("a.py", "pkg/b.py")}
ROWS = {"": {"a.py": [(-1, 1), (1, 2)]}, "t|run": {"a.py": [(2, 300)], "pkg/b.py": [(-1, 5), (5, -1)]}}
FOUND_BY_ROWS = {
    "enormous line numbers",
    "a huge blob",
    "lines that are text",
    "lines of no file",
    "lines of no context",
    "an index that contradicts its table",
}
"""What only reading all pages and rows tells."""


def small(path: Path) -> bytes:
    """Return branch data in small pages: every value stands in a table and in an index."""
    write_data(path, ROWS, branch=True)
    tampered(path, "pragma page_size = 512; vacuum")
    return path.read_bytes()


def without_index_entry(data: bytes) -> bytes:
    """Return the data with a row in the table of arcs that its index lacks: one says 300, one 301."""
    at = data.index((300).to_bytes(2, "big"))
    return data[:at] + (301).to_bytes(2, "big") + data[at + 2 :]


def outcome(path: Path, data: bytes) -> Problem | dict[str, str]:
    """Return the problem with these bytes, as they were when a shard hashed them, or what is read of them."""
    path.write_bytes(data)
    expected = dataclasses.replace(data_file(path, NAME), checked=is_sound(data))
    verdict = check(LocalData(path, NAME, expected))
    if isinstance(verdict, Problem):
        return verdict
    merge([path], path.with_name("out"), own=OWN)
    return raw_digest(path.with_name("out"))


def test_a_sound_file_is_sound(tmp_path: Path) -> None:
    assert is_sound(small(tmp_path / "data"))
    assert is_sound(write_data(tmp_path / "lines", {"": {"a.py": [1]}}).read_bytes())


@pytest.mark.parametrize("trick", sorted(HOSTILE.keys() - {"a path that is not Unicode"}))
def test_what_is_hostile_is_never_called_sound_without_being_refused(tmp_path: Path, trick: str) -> None:
    path = tampered(write_data(tmp_path / "data", {"": {"a.py": [1], "pkg/b.py": [1]}}), HOSTILE[trick][0])
    found = data_file(path, NAME)
    if trick in FOUND_BY_ROWS:
        assert not is_sound(path.read_bytes())
    elif isinstance(check(LocalData(path, NAME, found)), Problem):
        lie = dataclasses.replace(found, checked=True)
        assert isinstance(check(LocalData(path, NAME, lie)), Problem), "a shard that lies gets this through"


def test_a_row_that_its_index_lacks_is_not_sound(tmp_path: Path) -> None:
    damaged = without_index_entry(small(tmp_path / "data"))
    assert not is_sound(damaged)
    verdict = outcome(tmp_path / "data", damaged)
    assert isinstance(verdict, Problem)
    assert "its pages are damaged" in verdict.detail


def test_what_a_shard_has_checked_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_data(tmp_path / "data", ROWS, branch=True)
    found = data_file(path, NAME)
    calls: list[sqlite3.Connection] = []
    monkeypatch.setattr("covfleet.combine.verify.check_rows", calls.append)
    for checked, times in ((False, 1), (True, 1)):
        expected = dataclasses.replace(found, checked=checked)
        assert isinstance(check(LocalData(path, NAME, expected)), CheckedData)
        assert len(calls) == times


def test_bytes_other_than_those_that_were_checked_are_refused(tmp_path: Path) -> None:
    path = write_data(tmp_path / "data", ROWS, branch=True)
    found = data_file(path, NAME)
    path.write_bytes(without_index_entry(path.read_bytes()))
    expected = dataclasses.replace(found, checked=True)
    assert isinstance(check(LocalData(path, NAME, expected)), Problem)


def test_no_flipped_bit_of_branch_data_gives_other_data(tmp_path: Path) -> None:
    data = small(tmp_path / "data")
    right = outcome(tmp_path / "data", data)
    die = random.Random(7)
    named = 0
    for at in die.sample(range(len(data)), 500):
        flipped = data[:at] + bytes([data[at] ^ (1 << die.randrange(8))]) + data[at + 1 :]
        found = outcome(tmp_path / "data", flipped)
        named += isinstance(found, Problem)
        assert isinstance(found, Problem) or found == right, f"byte {at}"
    assert named > 40


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_to_branch_data_gives_other_data(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    good = small(folder / "data")
    right = outcome(folder / "data", good)
    at = data.draw(st.integers(0, len(good) - 1))
    junk = data.draw(st.binary(min_size=1, max_size=40))
    found = outcome(folder / "data", (good[:at] + junk + good[at + len(junk) :])[: len(good)])
    assert isinstance(found, Problem) or found == right


@pytest.mark.parametrize(
    ("branch", "script"),
    [
        (False, "update line_bits set numbits = 'abc'"),
        (False, f"update line_bits set numbits = zeroblob({LARGEST_LINE // 8 + 5000})"),
        (True, f"update arc set tono = {LARGEST_LINE + 1}"),
        (True, "update arc set fromno = 'abc'"),
        (True, "update arc set tono = null"),
    ],
)
def test_rows_that_nobody_checked_are_refused_when_they_are_merged(
    tmp_path: Path, branch: bool, script: str
) -> None:
    rows = {context: {"a.py": [(1, 2)] if branch else [1]} for context in ("", "one|run")}
    files = [write_data(tmp_path / "1", rows, branch=branch), write_data(tmp_path / "2", rows, branch=branch)]
    tampered(files[1], script)
    for order in (files, files[::-1]):
        with pytest.raises(IncompleteDataError, match="lines beyond"):
            merge(order, tmp_path / "out", own=OWN)
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2"}


def test_the_result_is_read_by_coverage_py_although_it_was_not_asked(tmp_path: Path) -> None:
    merge([write_data(tmp_path / "1", ROWS, branch=True)], tmp_path / "out", own=OWN)
    assert api_view(tmp_path / "out")["a.py"][2] == [(-1, 1), (1, 2), (2, 300)]
    with contextlib.closing(sqlite3.connect(tmp_path / "out")) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
