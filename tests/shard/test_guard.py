"""What a test does to measuring costs lines of that test at most, whichever core measures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.interpreters import environment, interpreter
from support.needs import missing
from support.runs import Build, lines_of, new_build, write_project

SHOP = "def add(a, b):\n    if a > 100:\n        return -1\n    return a + b\n\n\ndef late():\n    return 7\n"
AFTER = (
    "from shop import add, late\ndef test_add(): assert add(1, 2) == 3\ndef test_late(): assert late() == 7\n"
)
SEEN = [1, 2, 4, 7, 8]

DISTURBANCES = {
    "sys.settrace(None)": "import sys\ndef test_it(): sys.settrace(None)\n",
    "sys.settrace of one's own": "import sys\ndef test_it(): sys.settrace(lambda *_: None)\n",
    "threading.settrace(None)": "import threading\ndef test_it(): threading.settrace(None)\n",
    "a fixture's teardown": """
        import pytest, sys
        @pytest.fixture
        def tracing():
            yield
            sys.settrace(None)
        def test_it(tracing): pass
    """,
    "a debugger that goes on": """
        import bdb
        class Debugger(bdb.Bdb):
            def user_line(self, frame): pass
        def test_it():
            debugger = Debugger()
            debugger.set_trace()
            x = 1
            debugger.set_continue()
            debugger.clear_all_breaks()
    """,
    "a debugger that stays": """
        import bdb
        class Debugger(bdb.Bdb):
            def user_line(self, frame): pass
        def test_it(): Debugger().set_trace()
    """,
    "a nested measurement that stays": """
        import coverage
        def test_it(): coverage.Coverage(data_file=None, config_file=False).start()
    """,
    "two nested measurements, one forgotten": """
        import coverage
        def test_it():
            first = coverage.Coverage(data_file=None, config_file=False); first.start()
            second = coverage.Coverage(data_file=None, config_file=False); second.start()
            second.stop()
    """,
    "the measurement itself stopped": "import coverage\ndef test_it(): coverage.Coverage.current().stop()\n",
    "the measurement itself erased": "import coverage\ndef test_it(): coverage.Coverage.current().erase()\n",
    "a file that ends tracing when it is imported": "import sys\nsys.settrace(None)\ndef test_it(): pass\n",
}
MONITORING = {
    "freed tool ids": """
        import sys
        def test_it():
            for tool in range(6):
                if sys.monitoring.get_tool(tool): sys.monitoring.free_tool_id(tool)
    """,
    "tool ids taken over": """
        import sys
        def test_it():
            for tool in range(6):
                if sys.monitoring.get_tool(tool): sys.monitoring.free_tool_id(tool)
            sys.monitoring.use_tool_id(1, "another")
            sys.monitoring.use_tool_id(4, "another")
    """,
    "events switched off": """
        import sys
        def test_it():
            for tool in range(6):
                if sys.monitoring.get_tool(tool): sys.monitoring.set_events(tool, 0)
    """,
    "callbacks replaced": """
        import sys
        def test_it():
            events = sys.monitoring.events
            for tool in range(6):
                if sys.monitoring.get_tool(tool):
                    for event in (events.PY_START, events.LINE, events.JUMP):
                        sys.monitoring.register_callback(tool, event, None)
    """,
}
SETTINGS: dict[str, dict[str, object]] = {
    "ctrace": {"core": "ctrace", "contexts": True, "branch_coverage": True},
    "pytrace": {"core": "pytrace"},
    "sysmon": {"core": "sysmon"},
    "monitor": {"core": "monitor", "contexts": True},
}
CASES = [
    *(("3.11", how, what) for how in ("ctrace", "pytrace") for what in DISTURBANCES),
    *(("3.13", how, what) for how in ("sysmon", "monitor") for what in {**DISTURBANCES, **MONITORING}),
]


@pytest.fixture(scope="module")
def pythons() -> Callable[[str], Path]:
    """Return what gives an interpreter of a version, with the newest coverage.py and pytest."""

    def python(version: str) -> Path:
        if interpreter(version) is None:
            missing(f"Python {version}", "install one beside the running interpreter, or on the PATH")
        return environment(version, "coverage", "pytest")

    return python


def built(folder: Path, python: Path, disturbance: str, settings: dict[str, object]) -> Build:
    files = {"shop.py": SHOP, "test_a.py": disturbance, "test_b.py": AFTER}
    build = new_build(write_project(folder, files), **settings)
    build.launcher._python = str(python)  # type: ignore[union-attr]
    return build


@pytest.mark.parametrize(("version", "how", "what"), CASES)
def test_what_runs_after_a_disturbance_is_measured(
    tmp_path: Path, pythons: Callable[[str], Path], version: str, how: str, what: str
) -> None:
    python = pythons(version)
    build = built(tmp_path / "p", python, {**DISTURBANCES, **MONITORING}[what], SETTINGS[how])
    plan = build.plan()
    assert len(plan.batches) == 1  # both files in one process, one after the other
    build.run_shard(plan)
    assert {outcome.outcome for outcome in build.outcomes().values()} == {"passed"}
    combined = build.combine()
    assert combined.ledger.verdict == "complete"
    assert lines_of(combined.data_file)["shop.py"] == SEEN


def test_the_figure_does_not_depend_on_the_number_of_shards_and_the_test_is_named(tmp_path: Path) -> None:
    seen = []
    for shards in (1, 2, 6):
        files = {"shop.py": SHOP, "test_a.py": DISTURBANCES["sys.settrace(None)"], "test_b.py": AFTER}
        for number in range(3):
            files[f"test_c{number}.py"] = (
                f"from shop import add\ndef test_c(): assert add(200, {number}) == -1\n"
            )
        settings = {"branch_coverage": True, "batch_s": 0.001, "shards": shards}
        build = new_build(write_project(tmp_path / f"{shards}", files), **settings)
        plan = build.plan()
        for shard in range(1, shards + 1):
            build.run_shard(plan, shard)
        combined = build.combine()
        assert combined.ledger.uncertain == ("test_a.py::test_it",)
        assert any("sys.settrace" in note and "test_a.py::test_it" in note for note in combined.ledger.notes)
        seen.append(lines_of(combined.data_file))
    assert seen[0]["shop.py"] == [1, 2, 3, 4, 7, 8]
    assert seen[0] == seen[1] == seen[2]


def test_a_test_that_leaves_measuring_alone_is_not_named(tmp_path: Path) -> None:
    quiet = """
        import coverage, sys
        def test_it():
            before = sys.gettrace()
            sys.settrace(lambda *_: None)
            sys.settrace(before)
            nested = coverage.Coverage(data_file=None, config_file=False)
            nested.start()
            nested.stop()
    """
    build = new_build(write_project(tmp_path, {"shop.py": SHOP, "test_a.py": quiet, "test_b.py": AFTER}))
    build.run_shard(build.plan())
    ledger = build.combine().ledger
    assert (ledger.verdict, ledger.uncertain) == ("complete", ())
