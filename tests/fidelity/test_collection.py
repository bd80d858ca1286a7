"""Collection is all or nothing, and a file that spoils it is an error of its own, by name."""

from __future__ import annotations

import os
import shutil
import signal
import threading

import pytest
from covfleet.errors import ConfigurationError
from covfleet.worker.client import CollectionCutError
from support.fleets import SHOP, SHOP_LINES, run_fleet
from support.runs import new_build, write_project

GOOD = {f"tests/test_{n}.py::test_add": "passed" for n in range(1, 5)}

FATAL = {
    "a segmentation fault": ("import os\nos.kill(os.getpid(), 11)", "killed by signal 11), 2 times"),
    "an abort": ("import os\nos.abort()", "killed by signal 6"),
    "os._exit": ("import os\nos._exit(0)", "exit status 0"),
    "os._exit with pytest's status": ("import os\nos._exit(4)", ""),
    "a hang": ("import time\ntime.sleep(1000)", "longer than collect_timeout_s"),
    "a busy loop": ("while True: pass", "longer than collect_timeout_s"),
    "sys.exit": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "raise SystemExit": ("raise SystemExit('no display')", "SystemExit: no display"),
    "pytest.exit": ("import pytest\npytest.exit('stop')", "Exit: stop"),
    "Ctrl-C": ("raise KeyboardInterrupt", ""),
    "an ImportError": ("import there_is_none", "ModuleNotFoundError: No module named 'there_is_none'"),
    "a syntax error": ("def f(:", "SyntaxError"),
    "a failed assertion": ("assert 1 == 2", "assert 1 == 2"),
    "an exception of no Exception's kind": ("class E(BaseException): pass\nraise E('odd')", "odd"),
}


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("kind", FATAL)
def test_a_file_that_ends_or_stops_its_collection_is_an_error_of_its_own(tmp_path, kind, shards):
    code, reason = FATAL[kind]
    bad = {"tests/test_2b.py": f"{code}\n\ndef test_never(): pass\n"}
    fleet = run_fleet(write_project(tmp_path, {**SHOP, **bad}), shards, collect_timeout_s=3)
    assert fleet.verdicts == {**GOOD, "tests/test_2b.py": "error"}
    assert reason in fleet.outcomes["tests/test_2b.py"].message
    assert "couldn't be collected" in fleet.outcomes["tests/test_2b.py"].message
    assert "tests/test_2b.py couldn't be collected" in fleet.said
    assert fleet.lines == SHOP_LINES
    assert fleet.combined.ledger.verdict == "complete"


def test_the_traceback_of_a_crash_is_kept(tmp_path):
    bad = {"tests/test_2b.py": "import faulthandler\nfaulthandler._sigsegv()\n"}
    fleet = run_fleet(write_project(tmp_path, {**SHOP, **bad}), 1)
    assert 'tests/test_2b.py", line 2 in <module>' in fleet.outcomes["tests/test_2b.py"].output


@pytest.mark.parametrize("import_all", [False, True])
def test_a_file_that_is_named_and_one_whose_conftest_crashes_are_left_out_as_well(tmp_path, import_all):
    crash = "import os\nos.kill(os.getpid(), 11)\n"
    bad = {"tests/deep/conftest.py": crash, "tests/deep/test_5.py": "def test_five(): pass\n"}
    project = write_project(tmp_path, {**SHOP, **bad, "tests/test_2b.py": crash})
    fleet = run_fleet(project, 2, pytest_args=("tests/test_2b.py", "tests"), import_all=import_all)
    assert fleet.verdicts == {**GOOD, "tests/deep": "error", "tests/test_2b.py": "error"}


def test_a_file_without_tests_that_crashes_in_its_shard_only_costs_nobody_else(tmp_path):
    """What depends on the machine may pass for the planner, and not later."""
    crash = "import os\nif os.path.exists('planned'):\n    os.kill(os.getpid(), 11)\n"
    project = write_project(
        tmp_path, {**SHOP, "tests/test_2b.py": f"{crash}def test_b(): pass\n", "tests/test_helpers.py": crash}
    )
    build = new_build(project)
    plan = build.plan()
    (project / "planned").touch()
    build.run_shard(plan)
    verdicts = {test: outcome.outcome for test, outcome in build.outcomes().items()}
    assert verdicts == {**GOOD, "tests/test_2b.py::test_b": "crashed", "tests/test_helpers.py": "crashed"}


def test_a_file_that_hangs_in_its_shard_only_costs_nobody_else(tmp_path):
    hang = "import os, time\nif os.path.exists('planned'):\n    time.sleep(1000)\ndef test_b(): pass\n"
    project = write_project(tmp_path, {**SHOP, "tests/test_2b.py": hang})
    build = new_build(project, collect_timeout_s=2)
    plan = build.plan()
    (project / "planned").touch()
    build.run_shard(plan)
    verdicts = {test: outcome.outcome for test, outcome in build.outcomes().items()}
    assert verdicts == {**GOOD, "tests/test_2b.py::test_b": "timeout"}


def test_files_that_all_crash_are_taken_for_a_fault_that_they_share(tmp_path, monkeypatch):
    monkeypatch.setattr("covfleet.plan.collect.MOST_LEFT_OUT", 2)
    bad = {f"tests/test_bad{n}.py": "import os\nos.abort()\n" for n in range(4)}
    with pytest.raises(
        ConfigurationError, match=r"3 files ended or stopped .* tests/test_bad0\.py"
    ) as caught:
        new_build(write_project(tmp_path, bad)).plan()
    assert caught.value.exit_code == 2


def test_a_conftest_that_crashes_at_the_top_is_an_error_of_configuration(tmp_path):
    project = write_project(tmp_path, {**SHOP, "conftest.py": "import os\nos.kill(os.getpid(), 11)\n"})
    with pytest.raises(CollectionCutError) as caught:
        new_build(project).plan()
    assert caught.value.exit_code == 2
    assert "signal 11" in str(caught.value)


@pytest.mark.parametrize(
    ("files", "arguments", "said"),
    [
        ({"conftest.py": "import there_is_none\n"}, (), "No module named 'there_is_none'"),
        ({}, ("--there-is-none",), "unrecognized arguments: --there-is-none"),
        ({}, ("tests/nowhere.py",), "nowhere.py"),
        ({}, ("tests/test_1.py", "tests/nowhere.py"), "nowhere.py"),
    ],
)
def test_what_pytest_calls_wrong_usage_is_an_error_of_configuration(tmp_path, files, arguments, said):
    with pytest.raises(ConfigurationError) as caught:
        new_build(write_project(tmp_path, {**SHOP, **files}), pytest_args=arguments).plan()
    assert said in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_the_planning_worker_costs_no_test(tmp_path, number):
    """At any moment: the plan has all tests, or there is none."""
    many = {
        f"tests/test_many{n}.py": "import time\ntime.sleep(0.02)\ndef test_it(): pass\n" for n in range(40)
    }
    settings = {
        "pyproject.toml": SHOP["pyproject.toml"].replace("testpaths", "filterwarnings=['error']\ntestpaths")
    }
    project = write_project(tmp_path, {**SHOP, **many, **settings})
    for delay_s in (0.05, 0.2, 0.35, 0.5, 0.7):
        build = new_build(project)
        build.launcher = _Signalling(build.launcher, number, delay_s)
        plan = build.plan()
        assert len(plan.tests) == 44
        assert not plan.left_out
        shutil.rmtree(project / ".covfleet")  # so that the next trial plans again


class _Signalling:
    """A launcher whose first worker gets a signal some time after its first file was collected."""

    def __init__(self, launcher, number, delay_s):
        self._launcher, self._number, self._delay_s = launcher, number, delay_s

    def launch(self, spec):
        worker = self._launcher.launch(spec)
        receive, pid = worker.receive, worker._process.pid
        number, self._number = self._number, None

        def told(timeout_s):
            nonlocal number
            line = receive(timeout_s)
            if number and line and b'"collecting"' in line:
                timer = threading.Timer(self._delay_s, os.kill, (pid, number))
                timer.start()
                number = None
            return line

        worker.receive = told
        return worker


@pytest.mark.parametrize(
    ("code", "place"),
    [
        (
            """
            import uuid, pytest
            @pytest.mark.parametrize("x", [str(uuid.uuid4()) for _ in range(3)])
            def test_random(x): pass
            """,
            "tests/test_2b.py::test_random",
        ),
        (
            """
            import pytest
            @pytest.mark.parametrize("x", {object(), f"at {hash('x')}"})
            def test_random(x): pass
            """,
            "tests/test_2b.py::test_random",
        ),
        (
            """
            import os
            globals()[f"test_of_{os.getpid()}"] = lambda: None
            """,
            "tests/test_2b.py",
        ),
    ],
)
@pytest.mark.parametrize("unit", ["file", "test"])
def test_ids_that_change_are_named_as_the_cause(tmp_path, code, place, unit):
    fleet = run_fleet(write_project(tmp_path, {**SHOP, "tests/test_2b.py": code}), 2, unit=unit)
    outcomes = {test: each for test, each in fleet.outcomes.items() if test not in GOOD}
    assert {each.outcome for each in outcomes.values()} >= {"error"}
    changed = [each for each in outcomes.values() if each.outcome == "error"]
    assert all("ids change from run to run" in each.message for each in changed)
    assert all(f"pytest collects here:\n{place}" in each.output for each in changed)


@pytest.mark.parametrize("unit", ["file", "test"])
def test_a_test_that_is_merely_gone_is_not_said_to_have_a_changing_id(tmp_path, unit):
    code = "import os\ndef test_a(): pass\nif not os.path.exists('planned'):\n    def test_b(): pass\n"
    project = write_project(tmp_path, {**SHOP, "tests/test_2b.py": code})
    build = new_build(project, unit=unit, batch_s=0.01)
    plan = build.plan()
    (project / "planned").touch()
    build.run_shard(plan)
    assert (
        build.outcomes()["tests/test_2b.py::test_b"].message
        == "was planned, but pytest didn't collect it here"
    )


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("branch", [False, True])
def test_an_id_that_no_data_file_can_hold_gets_a_context_that_it_can(tmp_path, shards, branch):
    ini = SHOP["pyproject.toml"].replace(
        "testpaths", "disable_test_id_escaping_and_forfeit_all_rights_to_community_support = true\ntestpaths"
    )
    code = """
        import pytest
        from shop import add
        @pytest.mark.parametrize("x", ["a\\0b", "a\\0c", "\\x1b[31m", "\\n", "|", "é"])
        def test_odd(x): assert add(101, 1) == -1
    """
    project = write_project(tmp_path, {**SHOP, "pyproject.toml": ini, "tests/test_2b.py": code})
    fleet = run_fleet(project, shards, contexts=True, branch_coverage=branch)
    assert set(fleet.verdicts.values()) == {"passed"}
    assert len(fleet.verdicts) == 4 + 6
    contexts = contexts_of(fleet.combined.data_file)
    assert {f"tests/test_2b.py::test_odd[a\\x00{each}]|run" for each in "bc"} <= contexts
    assert not any("\0" in context for context in contexts)


def contexts_of(data_file):
    from coverage import CoverageData

    data = CoverageData(str(data_file))
    data.read()
    return data.measured_contexts()
