"""What the comparison of the cores takes for chance, and what it doesn't."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import pytest
from checks.cores import MOST_TRIES, CoreRow, differences, measured, racy
from checks.suites import Project
from covfleet.worker.core_comparison import OWN, STOCK, CoreComparison, Pair, Sight, compare, pairs_in
from support.interpreters import NEWEST, environment, monitoring_interpreter
from support.runs import write_project

MISSED, ONLY_OURS = ("app.py", 1, "a|run"), ("app.py", 2, "b|run")
SEEN = CoreComparison(2, 2, frozenset(), frozenset({MISSED}), frozenset({ONLY_OURS}))


def again(stock: Iterable[set[Pair]], own: Iterable[set[Pair]]) -> tuple[frozenset[Pair], int]:
    """Let the cores see this when they look again; return what is taken for chance, and their looks."""
    runs = {STOCK: iter(stock), OWN: iter(own)}
    looks: list[str] = []

    def look(core: str, number: int) -> set[Pair]:
        assert number == len(looks) // 2
        looks.append(core)
        return next(runs[core])

    return racy(SEEN, look), len(looks) // 2


@pytest.mark.parametrize(
    ("stock", "own", "found", "tries"),
    [
        ([{MISSED}], [{ONLY_OURS}], set(), MOST_TRIES),  # they still differ
        ([{MISSED, ONLY_OURS}], [{MISSED}], {MISSED, ONLY_OURS}, 1),  # now the other core sees it
        ([{MISSED}, set()], [{ONLY_OURS}, set()], {MISSED, ONLY_OURS}, 2),  # each core disagrees with itself
        ([set()], [set()], set(), MOST_TRIES),  # nobody sees it any more: that proves nothing
        ([{MISSED}], [set(), {ONLY_OURS}], {ONLY_OURS}, MOST_TRIES),
    ],
)
def test_only_what_comes_and_goes_is_chance(stock, own, found, tries):
    assert again(itertools.cycle(stock), itertools.cycle(own)) == (found, tries)


def test_what_stays_is_unexplained_and_chance_is_counted_apart():
    row = CoreRow("suite", SEEN, frozenset({MISSED}))
    assert row.cells() == ("suite", "2", "2", "0", "1", "0", "1", "0")
    assert differences(row) == {
        "differs between two runs of one core": [],
        "comes and goes when its test runs alone": [
            "comes and goes when its test runs alone: app.py:1 (a|run)"
        ],
        "UNEXPLAINED": [f"UNEXPLAINED: only seen by {OWN}: app.py:2 (b|run)"],
    }


def test_tests_run_alone_with_the_one_before_them_and_keep_their_names(tmp_path: Path):
    tests = "".join(f"def test_{name}(): app.work(1)\n" for name in "abcd")
    files = {"app.py": "def work(x):\n    return x\n", "test_app.py": f"import app\n{tests}"}
    python = environment(monitoring_interpreter(), *NEWEST)
    project = Project("app", write_project(tmp_path / "app", files), python)
    looks = []
    for core in (STOCK, OWN):
        ran = measured(project, core, tmp_path / core, only={"test_app.py::test_c"})
        assert ran.stdout.strip().splitlines()[-1].startswith("2 passed")
        looks.append([Sight(pairs_in(tmp_path / core / "done"))])
    assert compare(*looks).is_equal
    contexts = {context for file, line, context in looks[0][0].pairs if (file, line) == ("app.py", 2)}
    assert contexts == {"test_app.py::test_b|run", "test_app.py::test_c|run"}
