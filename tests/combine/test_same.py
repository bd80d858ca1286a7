"""Whether two data files say the same: ids and the order of rows mean nothing, every row does."""

from __future__ import annotations

from pathlib import Path

import pytest
from covfleet.combine.merge import merge
from covfleet.combine.same import same_data
from support.datafiles import write_data

ROWS = {"": {"a.py": [1, 2], "b.py": [1]}, "t|run": {"a.py": [3]}}
OTHER_ROWS = {"u|run": {"b.py": [4], "c.py": [1]}}
OWN = {"a.py": "a.py", "b.py": "b.py", "c.py": "c.py"}


def test_the_order_of_merging_means_nothing(tmp_path: Path) -> None:
    files = [write_data(tmp_path / "1", ROWS), write_data(tmp_path / "2", OTHER_ROWS)]
    merge(files, tmp_path / "there", own=OWN)
    merge(files[::-1], tmp_path / "back", own=OWN)
    assert (tmp_path / "there").read_bytes() != (tmp_path / "back").read_bytes()
    assert same_data(tmp_path / "there", tmp_path / "back")


@pytest.mark.parametrize(
    "other",
    [
        {"rows": ROWS, "touched": ["c.py"]},
        {"rows": ROWS, "tracers": {"a.py": "p.T"}},
        {"rows": {**ROWS, "t|run": {"a.py": [3, 4]}}},
        {"rows": {**ROWS, "t|run": {"b.py": [3]}}},
        {"rows": {"": ROWS[""], "t|teardown": ROWS["t|run"]}},
        {"rows": {"": {"a.py": [1, 2], "b.py": [1]}}},
        {"rows": {}, "branch": True},
    ],
)
def test_any_other_row_is_a_difference(tmp_path: Path, other: dict) -> None:
    one, two = write_data(tmp_path / "1", ROWS), write_data(tmp_path / "2", **other)
    assert not same_data(one, two)
    assert not same_data(two, one)


def test_any_other_arc_is_a_difference(tmp_path: Path) -> None:
    one = write_data(tmp_path / "1", {"": {"a.py": [(1, 2)]}}, branch=True)
    assert not same_data(one, write_data(tmp_path / "2", {"": {"a.py": [(1, 3)]}}, branch=True))
    assert same_data(one, write_data(tmp_path / "3", {"": {"a.py": [(1, 2)]}}, branch=True))
