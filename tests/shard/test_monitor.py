"""covfleet's own core against the C tracer: context by context, line by line, where that is hard.

``data/contexts`` holds the cases. They run under each core with the interpreters of the machine that have
``sys.monitoring``; where the C tracer itself falls short, what must be seen stands in the test.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from checks.cores import measured, seen_by_cores
from checks.suites import Project
from covfleet.adapters.processes.launchers import WORKER
from covfleet.worker.core_comparison import Pair, pairs_in
from support.interpreters import NEWEST, environment, interpreter
from support.needs import missing
from support.runs import Build, lines_of, new_build, write_project

CASES = Path(__file__).parent.parent / "data" / "contexts"
OLDEST = ("coverage==7.10.6", "pytest", "pytest-cov", "greenlet")
SETTINGS = '[tool.pytest.ini_options]\n[tool.coverage.run]\nsource = ["."]\n'
WITH_GREENLETS = f'{SETTINGS}concurrency = ["thread", "greenlet"]\n'
PYTHONS = [version for version in ("3.12", "3.13", "3.14") if interpreter(version)]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=PYTHONS)
def python(request) -> Path:
    """An interpreter with ``sys.monitoring`` whose environment has coverage, pytest and greenlet."""
    return environment(request.param, *NEWEST)


def project_of(folder: Path, python: Path, files: dict[str, str], settings: str = SETTINGS) -> Project:
    root = folder / "project"
    root.mkdir(parents=True)
    for name, content in {"pyproject.toml": settings, **files}.items():
        (root / name).write_text(content)
    return Project("cases", root, python)


def seen(folder: Path, python: Path, files: dict[str, str], *options: str) -> dict[str, list[int]]:
    """Return the lines of app.py by context, when the files' tests have passed under covfleet's core."""
    ran = measured(project_of(folder, python, files), "monitor", folder / "data", *options)
    assert ran.returncode == 0, ran.stdout
    return by_context(pairs_in(folder / "data" / "done"))


def by_context(pairs: set[Pair]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for file, line, context in sorted(pairs):
        if file == "app.py":
            found.setdefault(context.split("::")[-1], []).append(line)
    return found


def assert_equal_on_all_cases(folder: Path, python: Path) -> None:
    files = {"app.py": (CASES / "app.py").read_text(), "test_cases.py": (CASES / "cases.py").read_text()}
    project = project_of(folder, python, files, WITH_GREENLETS)
    assert measured(project, "monitor", folder / "once").returncode == 0
    row = seen_by_cores(project, folder / "runs")
    assert not row.missed
    assert not row.failing
    # The C tracer loses a test's lines after a greenlet of an earlier test has ended, and those of a function
    # in which it is started again, as after a nested measurement; these tests pass, so they ran.
    lost = ("greenlet_goes_on", "a_measurement_within_this_one", "this_measurement_stops_and_starts")
    assert {context for _, _, context in row.only_ours} <= {
        f"test_cases.py::test_{test}|run" for test in lost
    }
    assert row.contexts > 50
    assert row.pairs > 400
    assert not row.unstable


def test_all_cases_are_seen_as_by_the_c_tracer(python, tmp_path):
    assert_equal_on_all_cases(tmp_path, python)


def test_the_oldest_coverage_serves_as_well(tmp_path):
    if not PYTHONS:
        missing("Python 3.12 or newer", "install one beside the running interpreter, or on the PATH")
    assert_equal_on_all_cases(tmp_path, environment(PYTHONS[0], *OLDEST))


LOOP = (
    "def turn(stop, seen):\n    while not stop():\n        seen.append(1)\n        last = 2\n    return 3\n"
)


def test_a_thread_s_lines_are_in_every_context_while_it_spins(python, tmp_path):
    tests = """
import sys, threading, time
import pytest
from app import turn

sys.setswitchinterval(0.0001)  # or each test would wait for four threads' turns of 5 ms

@pytest.fixture(scope="module")
def spinning():
    stop, seen = threading.Event(), []
    threads = [threading.Thread(target=turn, args=(stop.is_set, seen)) for _ in range(4)]
    [thread.start() for thread in threads]
    yield seen
    stop.set()
    [thread.join() for thread in threads]

@pytest.mark.parametrize("number", range(300))
def test_it(spinning, number):
    before = len(spinning)
    while len(spinning) < before + 100:
        time.sleep(0)
"""
    found = seen(tmp_path, python, {"app.py": LOOP, "test_app.py": tests})
    missing = [n for n in range(1, 300) if not {2, 3, 4} <= set(found[f"test_it[{n}]|run"])]
    assert not missing


def test_what_a_signal_s_handler_runs_is_seen_whatever_it_interrupted(python, tmp_path):
    """It comes in the middle of code whose lines all have events, so often in one of our callbacks."""
    lines = "".join(f"    x = {number}\n" for number in range(300))
    app = f"def work():\n{lines}\n\ndef handler(*_):\n    global ran\n    ran = True\n\n\nran = False\n"
    tests = """
import signal
import app
import pytest

@pytest.mark.parametrize("number", range(400))
def test_it(number):
    app.ran = False
    signal.signal(signal.SIGALRM, app.handler)
    signal.setitimer(signal.ITIMER_REAL, 0.00002 + number % 40 / 1e6)
    for _ in range(1000):
        app.work()
        if app.ran:
            break
    assert app.ran
"""
    found = seen(tmp_path, python, {"app.py": app, "test_app.py": tests})
    handler = app.splitlines().index("    ran = True") + 1
    missing = [n for n in range(400) if handler not in found[f"test_it[{n}]|run"]]
    assert not missing


def test_what_ran_otherwise_in_earlier_contexts_loses_nothing(python, tmp_path):
    """A function runs in 128 ways, more than the core keeps the bits of; then in all of them once more."""
    app = "def work(number):\n    for _ in range(number % 3):\n        number += 3 * 128\n"
    app += "".join(f"    if number & {1 << bit}:\n        last = {bit}\n" for bit in range(7))
    tests = """
import pytest
from app import work

@pytest.mark.parametrize("number", range(256))
def test_it(number):
    work(number)
"""
    found = seen(tmp_path, python, {"app.py": app, "test_app.py": tests})
    for number in range(256):
        lines = {2, *([3] if number % 3 else []), *range(4, 18, 2)}
        lines |= {5 + 2 * bit for bit in range(7) if number & 1 << bit}
        assert found[f"test_it[{number}]|run"] == sorted(lines), number


def test_other_tools_keep_their_events_and_take_none_of_ours(python, tmp_path):
    tests = """
import sys
import app
M, E = sys.monitoring, sys.monitoring.events
often, once = [], []

def test_begin():
    for tool, seen, answer in ((0, often, None), (2, once, M.DISABLE)):
        M.use_tool_id(tool, f"tool {tool}")
        M.register_callback(
            tool, E.LINE, lambda code, line, seen=seen, answer=answer: (seen.append(line), answer)[1]
        )
        M.set_local_events(tool, app.turn.__code__, E.LINE)
    app.turn(lambda: True, [])

def test_go_on():
    app.turn(lambda: True, [])

def test_end():
    M.restart_events()
    app.turn(lambda: True, [])
    assert (often, once) == ([2, 5] * 3, [2, 5] * 2)
"""
    found = seen(tmp_path, python, {"app.py": LOOP, "test_app.py": tests})
    assert {test: found[f"{test}|run"] for test in ("test_begin", "test_go_on", "test_end")} == {
        "test_begin": [2, 5],
        "test_go_on": [2, 5],
        "test_end": [2, 5],
    }


def test_a_debugger_and_threads_that_threading_does_not_know_hide_nothing(python, tmp_path):
    """The C tracer loses these lines: ``sys.settrace`` takes its place, and it isn't told of such threads."""
    tests = """
import _thread, sys, time
from app import turn

def test_settrace():
    sys.settrace(lambda *_: None)
    turn(lambda: True, [])
    sys.settrace(None)

def test_after_it():
    turn(lambda: True, [])

def test_thread():
    done = []
    _thread.start_new_thread(lambda: done.append(turn(lambda: True, [])), ())
    while not done:
        time.sleep(0.001)
"""
    found = seen(tmp_path, python, {"app.py": LOOP, "test_app.py": tests})
    for test in ("test_settrace", "test_after_it", "test_thread"):
        assert found[f"{test}|run"] == [2, 5]


@pytest.mark.parametrize(
    ("taken", "asked", "said"),
    [
        ((3, 4), "auto", "monitor []"),
        (
            (0, 1, 2, 3, 4),
            "auto",
            "ctrace ['measured with the C tracer, which is slower: other tools use the tool ids",
        ),
        (
            (0, 1, 2, 3, 4),
            "monitor",
            "covfleet's core on sys.monitoring can't measure here: other tools use the tool ids",
        ),
    ],
)
def test_taken_tool_ids_are_left_alone(python, tmp_path, taken, asked, said):
    script = f"""
import sys
for tool in {taken}:
    sys.monitoring.use_tool_id(tool, "another")
sys.path.append({str(WORKER.parent)!r})
from covfleet_worker.measurement import WorkerCoverage
measurement = WorkerCoverage({str(tmp_path / "data")!r}, branch=False, contexts=True, core={asked!r})
measurement.start()
print(measurement.core, measurement.notes)
"""
    (tmp_path / "data").mkdir()
    ran = subprocess.run(
        [python, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.stdout + ran.stderr).startswith(said)


def test_a_test_that_gives_all_tool_ids_to_others_ends_in_an_error_that_says_so(python, tmp_path):
    tests = """
import sys
import app

def test_a():
    for tool in range(6):
        if sys.monitoring.get_tool(tool):
            sys.monitoring.free_tool_id(tool)
        sys.monitoring.use_tool_id(tool, "another")

def test_b():
    assert app.turn(lambda: True, []) == 3
"""
    build = build_with(python, tmp_path, {"app.py": LOOP, "test_app.py": tests})
    build.run_shard(build.plan())
    outcomes = build.outcomes()
    assert {test.rpartition("::")[2]: outcome.outcome for test, outcome in outcomes.items()} == {
        "test_a": "crashed",
        "test_b": "passed",
    }
    assert any('set core = "ctrace"' in outcome.message + outcome.output for outcome in outcomes.values())


def test_covfleet_may_lie_in_a_folder_with_any_name(python, tmp_path):
    build = build_with(python, tmp_path / "project", TESTS)
    build.launcher._worker = shutil.copytree(WORKER, tmp_path / "a [x] {b} c*" / WORKER.name)
    build.run_shard(build.plan())
    measured = lines_of(build.combine().data_file)
    assert set(measured) == {"app.py", "test_a.py", "test_c.py"}


def build_with(python: Path, folder: Path, files: dict[str, str], **settings: object) -> Build:
    build = new_build(write_project(folder, files), contexts=True, **settings)
    build.launcher._python = str(python)
    return build


TESTS = {
    "app.py": "def double(x):\n    return 2 * x\n\n\ndef half(x):\n    return x / 2\n",
    "test_a.py": "import app\ndef test_a(): assert app.double(1) == 2\n"
    "def test_b(): assert app.half(2) == 1\n",
    "test_c.py": "import app\ndef test_c(): assert app.double(2) == 4\n",
}


def test_it_is_chosen_for_statements_with_contexts_and_each_batch_has_all_of_its_lines(python, tmp_path):
    build = build_with(python, tmp_path, TESTS, batch_s=0.001)
    plan = build.plan()
    assert plan.measurement.core == "monitor"
    assert len(plan.batches) == 2
    build.run_shard(plan)
    combined = build.combine()
    assert combined.ledger.verdict == "complete"
    assert contexts_of(combined.data_file, "app.py") == {
        1: {""},
        2: {"test_a.py::test_a|run", "test_c.py::test_c|run"},
        5: {""},
        6: {"test_a.py::test_b|run"},
    }


@pytest.mark.parametrize(
    ("settings", "core"),
    [
        ({"core": "ctrace"}, "ctrace"),
        ({"core": "monitor"}, "monitor"),
        ({"core": "sysmon"}, "monitor"),
        ({"branch_coverage": True}, "ctrace"),
    ],
)
def test_settings_choose_the_core(python, tmp_path, settings, core):
    assert build_with(python, tmp_path, TESTS, **settings).plan().measurement.core == core


def test_a_project_that_asks_for_sysmon_loses_no_contexts(python, tmp_path):
    settings = "[run]\ncore = sysmon\n"
    build = build_with(python, tmp_path, {**TESTS, ".coveragerc": settings})
    assert build.plan().measurement.core == "monitor"


def test_what_was_saved_survives_sigkill_with_its_contexts(python, tmp_path):
    tests = "import app, os, pathlib, time\ndef test_first(): app.double(1); time.sleep(0.3)\n"
    tests += "def test_second(): app.half(1)\n"
    tests += f"def test_dies():\n    flag = pathlib.Path({str(tmp_path / 'flag')!r})\n"
    tests += "    first = not flag.exists()\n"
    tests += f"    flag.touch()\n    if first: os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    build = build_with(
        python, tmp_path / "p", {"app.py": TESTS["app.py"], "test_a.py": tests}, checkpoint_s=0.01
    )
    build.run_shard(build.plan())
    assert {outcome.outcome for outcome in build.outcomes().values()} == {"passed"}
    found = contexts_of(build.combine().data_file, "app.py")
    assert (found[2], found[6]) == ({"test_a.py::test_first|run"}, {"test_a.py::test_second|run"})


def contexts_of(data_file: Path, name: str) -> dict[int, set[str]]:
    from coverage import CoverageData

    data = CoverageData(str(data_file))
    data.read()
    (path,) = (file for file in data.measured_files() if Path(file).name == name)
    return {line: set(contexts) for line, contexts in sorted(data.contexts_by_lineno(path).items())}
