"""A distributed run equals a serial one, on a part of a suite that nobody here wrote: networkx, whose wheel
ships its tests. ``scripts/equality`` is the whole of it: four suites, every mode, several Pythons.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
from checks.compare import Dataset, OtherCompany, compare, named
from checks.equality import Row, check
from checks.runs import MODES, stock_settings
from checks.suites import SUITES, Project
from support.datafiles import Rows, write_data

SLICE = (
    "networkx/utils/tests/test_mapped_queue.py",
    "networkx/utils/tests/test_heaps.py",
    "networkx/utils/tests/test_unionfind.py",
    "networkx/classes/tests/test_coreviews.py",
    "networkx/algorithms/tests/test_lowest_common_ancestors.py",
    "networkx/readwrite/tests/test_gml.py",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """The installed networkx as a project of its own."""
    spec = importlib.util.find_spec("networkx")
    assert spec and spec.origin
    root = tmp_path_factory.mktemp("equality") / "project"
    package, generated = Path(spec.origin).parent, shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, root / "networkx", ignore=generated)
    (root / "pyproject.toml").write_text(SUITES["networkx"].configuration)
    return Project("networkx", root, Path(sys.executable), paths=SLICE)


def explained(row: Row) -> list[str]:
    """Return what the sharded run has otherwise than the serial ones, but for contexts."""
    found = row.comparison
    facts = [*found.order_dependent, *found.drifting, *found.unexplained]
    return [named(file, fact) for file, fact in facts if fact[0] != "pair"]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "shards"), [("line", [2]), ("branch+contexts", [1, 2, 6])])
def test_a_distributed_run_equals_a_serial_one(project, tmp_path, mode, shards):
    rows = list(check(project, [MODES[mode]], shards, tmp_path))
    assert [row.shards for row in rows] == shards
    for row in rows:
        assert row.is_equal, [named(file, fact) for file, fact in row.comparison.unexplained]
        assert len(row.run.tests) > 150 and not row.run.failed
        assert not explained(row)
        assert row.comparison.compared["line"] > 5_000
        assert (row.comparison.compared["arc"] > 5_000) == MODES[mode].branch
        assert (row.comparison.compared["pair"] > 20_000) == MODES[mode].contexts


# ---- the judge itself

LINES: Rows = {"": {"app.py": [1, 2]}, "t.py::a|run": {"app.py": [3]}, "t.py::b|run": {"app.py": [4]}}
LOST: Rows = {**LINES, "t.py::b|run": {}}
MOVED: Rows = {**LOST, "t.py::a|run": {"app.py": [3, 4]}}


class Runs:
    """Data files of runs over ``app.py``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._count = 0
        (root / "app.py").touch()

    def dataset(self, rows: Rows) -> Dataset:
        self._count += 1
        return Dataset(write_data(self._root / f"data-{self._count}", rows), self._root, contexts=True)

    def company(self, reordered: Rows, alone: Rows) -> OtherCompany:
        return OtherCompany(("t.py",), lambda: [self.dataset(reordered)], lambda _: self.dataset(alone))


def names(facts) -> list[str]:
    return [named(file, fact) for file, fact in facts]


def test_a_lost_line_and_its_context_are_unexplained(tmp_path):
    runs = Runs(tmp_path)
    serial = [runs.dataset(LINES), runs.dataset(LINES)]
    found = compare(runs.dataset(LOST), serial, runs.company(LINES, LINES))
    assert names(found.unexplained) == ["app.py:4", "app.py:4 (t.py::b|run)"]
    assert not found.order_dependent


def test_a_line_given_to_the_wrong_test_is_unexplained(tmp_path):
    runs = Runs(tmp_path)
    serial = [runs.dataset(LINES), runs.dataset(LINES)]
    found = compare(runs.dataset(MOVED), serial, runs.company(LINES, LINES))
    assert names(found.unexplained) == ["app.py:4 (t.py::a|run)", "app.py:4 (t.py::b|run)"]


def test_what_two_serial_runs_disagree_on_is_named_and_counts_for_nothing(tmp_path):
    runs = Runs(tmp_path)
    serial = [runs.dataset(LINES), runs.dataset(LOST)]
    found = compare(runs.dataset(LOST), serial, runs.company(LINES, LINES))
    assert names(found.unstable) == ["app.py:4", "app.py:4 (t.py::b|run)"]
    assert not found.unexplained


def test_what_changes_with_the_order_of_the_tests_is_explained_by_it(tmp_path):
    runs = Runs(tmp_path)
    serial = [runs.dataset(LINES), runs.dataset(LINES)]
    for company in (runs.company(MOVED, LINES), runs.company(LINES, MOVED)):
        found = compare(runs.dataset(MOVED), serial, company)
        assert names(found.order_dependent) == ["app.py:4 (t.py::a|run)", "app.py:4 (t.py::b|run)"]
        assert not found.unexplained


def test_a_file_that_only_one_run_measured_is_unexplained(tmp_path):
    runs = Runs(tmp_path)
    (tmp_path / "more.py").touch()
    more: Rows = {**LINES, "": {"app.py": [1, 2], "more.py": [1]}}
    serial = [runs.dataset(LINES), runs.dataset(LINES)]
    found = compare(runs.dataset(more), serial, runs.company(LINES, LINES))
    assert names(found.unexplained) == ["more.py", "more.py:1", "more.py:1 (outside of tests)"]


def test_the_oracle_measures_by_the_project_s_own_settings(tmp_path):
    own = '[tool.coverage.run]\nsource = ["app"]\nbranch = true\n[tool.coverage.paths]\nall = ["a", "b"]\n'
    (tmp_path / "pyproject.toml").write_text(own)
    assert stock_settings(tmp_path / "pyproject.toml", branch=False).splitlines() == [
        "[run]",
        "source =",
        "    app",
        "branch = False",
        "parallel = True",
        "patch =",
        "    subprocess",
        "",
        "[paths]",
        "all =",
        "    a",
        "    b",
    ]
