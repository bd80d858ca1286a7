"""What is taken over from a worker, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from covfleet.shard.collect import DataFileCollector
from support.datafiles import DAMAGE, HOSTILE, tampered, write_data

ROWS = {"": {"a.py": range(1, 400), "pkg/b.py": [1]}}


def taken(folder: Path) -> dict[bool, int]:
    """Return how many of the files that are handed over are checked, and how many are not."""
    collector = DataFileCollector(folder / "collected")
    collector.watch(folder / "output")
    collector.collect_handed_over()
    checked = [file.checked for _, file in collector.take()]
    return {said: checked.count(said) for said in (False, True)}


def test_what_the_worker_hands_over_is_checked_where_it_is_hashed(tmp_path: Path) -> None:
    write_data(tmp_path / "output" / "done" / "1", ROWS)
    write_data(tmp_path / "output" / "done" / "2", {"t|run": {"a.py": [(-1, 2)]}}, branch=True)
    assert taken(tmp_path) == {True: 2, False: 0}


@pytest.mark.parametrize("damage", sorted(DAMAGE.keys() - {"flipped", "grown"}))
def test_damaged_data_is_taken_but_not_called_checked(tmp_path: Path, damage: str) -> None:
    path = write_data(tmp_path / "output" / "done" / "1", ROWS)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert taken(tmp_path) == {True: 0, False: 1}


@pytest.mark.parametrize(
    "trick", ["a trigger", "an index that contradicts its table", "lines of no file", "enormous line numbers"]
)
def test_hostile_data_is_taken_but_not_called_checked(tmp_path: Path, trick: str) -> None:
    tampered(write_data(tmp_path / "output" / "done" / "1", ROWS), HOSTILE[trick][0])
    assert taken(tmp_path) == {True: 0, False: 1}
