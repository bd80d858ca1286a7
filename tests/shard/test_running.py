"""A shard on real suites: what it reports, what it measures, and what it does when tests misbehave."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from coverage import CoverageData
from covfleet.adapters.folder.store import LocalStore
from covfleet.adapters.git import GitTree
from covfleet.model import BatchResult, TestOutcome
from covfleet.store.encoding import to_json
from support.processes import wait_for
from support.runs import lines_of, new_build, write_project

APP = """
    def double(x):
        if x > 1:
            return 2 * x
        return x + x


    def unused():
        return "never"
"""


def one_shard(project: Path, **settings):
    build = new_build(project, **settings)
    plan = build.plan()
    heartbeat = build.run_shard(plan)
    return build, plan, heartbeat


def test_a_segfault_costs_its_test_and_nothing_else(tmp_path):
    project = write_project(
        tmp_path,
        {
            "app.py": APP,
            "test_app.py": """
                import faulthandler
                from app import double

                def test_before():
                    assert double(1) == 2

                def test_segfault():
                    faulthandler._sigsegv()

                def test_after():
                    assert double(3) == 6
            """,
        },
    )
    build, _, heartbeat = one_shard(project)
    outcomes = build.outcomes()
    assert [outcome.outcome for outcome in outcomes.values()] == ["passed", "crashed", "passed"]
    crashed = outcomes["test_app.py::test_segfault"]
    assert "signal 11" in crashed.message
    assert "test_segfault" in crashed.output  # faulthandler's traceback
    assert heartbeat.tests_failed == 1
    assert lines_of(build.combine().data_file)["app.py"] == [2, 3, 4, 5, 8]


def test_os_exit_in_a_test_is_a_crash_even_with_status_zero(tmp_path):
    project = write_project(
        tmp_path, {"test_x.py": "import os\ndef test_exit(): os._exit(0)\ndef test_ok(): pass\n"}
    )
    build, _, _ = one_shard(project)
    assert {test: outcome.outcome for test, outcome in build.outcomes().items()} == {
        "test_x.py::test_exit": "crashed",
        "test_x.py::test_ok": "passed",
    }
    assert build.combine().ledger.verdict == "complete"


def test_a_process_killed_once_from_outside_loses_neither_test_nor_coverage(tmp_path):
    project = write_project(
        tmp_path,
        {
            "app.py": APP,
            "test_app.py": """
                import os, pathlib, signal
                from app import double

                def test_one():
                    assert double(1) == 2

                def test_killed_the_first_time():
                    marker = pathlib.Path(__file__).with_name("killed")
                    if not marker.exists():
                        marker.touch()
                        os.kill(os.getpid(), signal.SIGKILL)
                    assert double(3) == 6
            """,
        },
    )
    build, _, _ = one_shard(project, checkpoint_s=1000)
    assert {outcome.outcome for outcome in build.outcomes().values()} == {"passed"}
    assert any("killed by signal 9" in note for note in build.notes())
    assert lines_of(build.combine().data_file)["app.py"] == [2, 3, 4, 5, 8]


def test_a_hang_ends_at_the_batch_s_limit_and_the_rest_runs(tmp_path):
    project = write_project(
        tmp_path,
        {
            "test_x.py": """
                import time
                def test_a(): pass
                def test_hang(): time.sleep(600)
                def test_z(): pass
            """
        },
    )
    build, _, _ = one_shard(project, batch_timeout_s=2.0)
    outcomes = build.outcomes()
    assert [outcome.outcome for outcome in outcomes.values()] == ["passed", "timeout", "passed"]
    assert "time limit of 2 s" in outcomes["test_x.py::test_hang"].message


def test_a_hang_that_ignores_sigterm_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("covfleet.shard.batch.GRACE_S", 0.3)
    code = """
        import signal, time
        def test_deaf():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
    """
    build, _, _ = one_shard(write_project(tmp_path, {"test_x.py": code}), batch_timeout_s=1.0)
    assert build.outcomes()["test_x.py::test_deaf"].outcome == "timeout"


def test_a_file_that_cannot_be_imported_is_an_error_with_its_traceback_and_the_rest_runs(tmp_path):
    project = write_project(
        tmp_path, {"test_bad.py": "import nosuchmodule\n", "test_good.py": "def test_ok(): pass\n"}
    )
    build, plan, _ = one_shard(project)
    assert set(plan.tests) == {"test_bad.py", "test_good.py::test_ok"}
    assert build.outcomes()["test_bad.py"].outcome == "error"
    assert "nosuchmodule" in build.outcomes()["test_bad.py"].output
    assert build.outcomes()["test_good.py::test_ok"].outcome == "passed"


def test_a_planned_test_that_is_no_longer_collected_is_an_error_by_name(tmp_path):
    project = write_project(tmp_path, {"test_x.py": "def test_one(): pass\ndef test_two(): pass\n"})
    build = new_build(project)
    plan = build.plan()
    (project / "test_x.py").write_text("def test_one(): pass\ndef test_new(): pass\n")
    build.run_shard(plan)
    outcomes = build.outcomes()
    assert set(outcomes) == {"test_x.py::test_one", "test_x.py::test_two"}
    assert outcomes["test_x.py::test_two"].outcome == "error"
    assert "didn't collect it" in outcomes["test_x.py::test_two"].message


def test_pytest_exit_in_a_test_fails_that_test_alone(tmp_path):
    code = "import pytest\ndef test_exit(): pytest.exit('enough')\ndef test_next(): pass\n"
    build, _, _ = one_shard(write_project(tmp_path, {"test_x.py": code}))
    assert [outcome.outcome for outcome in build.outcomes().values()] == ["error", "passed"]
    assert "enough" in build.outcomes()["test_x.py::test_exit"].message


def test_maxfail_of_the_project_does_not_stop_a_shard(tmp_path):
    files = {
        "pytest.ini": "[pytest]\naddopts = -x\n",
        "test_x.py": "def test_a(): assert 0\ndef test_b(): assert 0\ndef test_c(): pass\n",
    }
    build, _, _ = one_shard(write_project(tmp_path, files))
    assert [outcome.outcome for outcome in build.outcomes().values()] == ["failed", "failed", "passed"]


def test_each_kind_of_outcome_is_told_apart(tmp_path):
    code = """
        import pytest

        def test_passed(): pass
        def test_failed(): print("said before"); assert 1 == 2
        @pytest.mark.skip(reason="not today")
        def test_skipped(): pass
        @pytest.mark.xfail(reason="known")
        def test_xfailed(): assert 0
        @pytest.mark.xfail(reason="fixed")
        def test_xpassed(): pass
        @pytest.mark.xfail(strict=True, reason="strictly")
        def test_xpassed_strictly(): pass
        @pytest.fixture
        def broken(): raise RuntimeError("no fixture")
        def test_error_in_setup(broken): pass
        @pytest.fixture
        def untidy():
            yield
            raise RuntimeError("left a mess")
        def test_error_in_teardown(untidy): pass
    """
    build, _, _ = one_shard(write_project(tmp_path, {"test_x.py": code}))
    outcomes = {test.split("::test_")[1]: outcome for test, outcome in build.outcomes().items()}
    assert {name: outcome.outcome for name, outcome in outcomes.items()} == {
        "passed": "passed",
        "failed": "failed",
        "skipped": "skipped",
        "xfailed": "xfailed",
        "xpassed": "xpassed",
        "xpassed_strictly": "failed",
        "error_in_setup": "error",
        "error_in_teardown": "error",
    }
    assert "said before" in outcomes["failed"].output
    assert "assert 1 == 2" in outcomes["failed"].message
    assert outcomes["skipped"].message.endswith("not today")
    assert "left a mess" in outcomes["error_in_teardown"].output


def test_a_flood_of_output_is_cut_and_does_not_block(tmp_path):
    code = """
        import os
        def test_flood():
            for _ in range(200):
                os.write(2, b"x" * 65536)
            assert 0
    """
    build, _, _ = one_shard(write_project(tmp_path, {"test_x.py": code}))
    outcome = build.outcomes()["test_x.py::test_flood"]
    assert outcome.outcome == "failed"
    assert len(outcome.output) < 100_000
    assert "characters cut" in outcome.output


def test_a_test_that_writes_into_every_descriptor_harms_only_itself(tmp_path):
    code = """
        import os
        def test_scribble():
            for number in range(3, 64):
                try:
                    os.write(number, b"nonsense\\n")
                except OSError:
                    pass
        def test_next(): pass
    """
    build, _, _ = one_shard(write_project(tmp_path, {"test_x.py": code}))
    outcomes = build.outcomes()
    assert outcomes["test_x.py::test_next"].outcome == "passed"
    assert outcomes["test_x.py::test_scribble"].outcome == "crashed"
    assert any("isn't an event" in note for note in build.notes())


def test_subprocesses_are_measured_wherever_they_start(tmp_path):
    files = {
        "app.py": APP,
        "tools/run.py": "import sys\nsys.path.insert(0, '..')\nimport app\napp.unused()\n",
        "test_x.py": """
            import subprocess, sys
            def test_child():
                subprocess.run([sys.executable, "run.py"], cwd="tools", check=True)
        """,
    }
    build, _, _ = one_shard(write_project(tmp_path, files))
    lines = lines_of(build.combine().data_file)
    assert lines["app.py"] == [2, 8, 9]
    assert lines["tools/run.py"] == [1, 2, 3, 4]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing_are_measured_if_the_project_says_so(tmp_path, method):
    files = {
        ".coveragerc": "[run]\nconcurrency = multiprocessing\n",
        "app.py": APP,
        "test_x.py": f"""
            import multiprocessing
            import app
            def test_child():
                child = multiprocessing.get_context({method!r}).Process(target=app.unused)
                child.start()
                child.join()
                assert child.exitcode == 0
        """,
    }
    build, _, _ = one_shard(write_project(tmp_path, files))
    assert 9 in lines_of(build.combine().data_file)["app.py"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".coverage.")]


def test_a_subprocess_that_outlives_its_batch_is_measured_all_the_same(tmp_path):
    files = {
        "child.py": """
            import pathlib, time
            while not pathlib.Path("released").exists(): time.sleep(0.02)
            late = True
        """,
        "test_x.py": """
            import subprocess, sys
            children = []
            def test_leaves_a_child():
                children.append(subprocess.Popen([sys.executable, "child.py"]))
        """,
        "test_y.py": "def test_after_it(): pass\n",
        "conftest.py": """
            import pathlib
            def pytest_sessionfinish():
                import test_x
                pathlib.Path("released").touch()
                for child in test_x.children:
                    child.wait()
        """,
    }
    build, _, _ = one_shard(write_project(tmp_path, files))
    assert lines_of(build.combine().data_file)["child.py"] == [2, 3, 4]


def test_the_data_of_every_batch_says_whether_it_holds_branches(tmp_path):
    files = {"app.py": APP, "test_a.py": "from app import double\ndef test_a(): double(1)\n"}
    files["test_b.py"] = files["test_a.py"].replace("test_a", "test_b")
    build = new_build(write_project(tmp_path, files), branch_coverage=True, batch_s=0.001)
    plan = build.plan()
    build.run_shard(plan)
    assert len(plan.batches) == 2
    combined = build.combine()
    data = CoverageData(str(combined.data_file))
    data.read()
    assert combined.ledger.verdict == "complete"
    assert (4, -2) not in set(data.arcs("app.py")) and (3, 5) in set(data.arcs("app.py"))


def test_to_collect_a_batch_no_other_file_is_looked_at(tmp_path):
    files = {
        "app.py": APP,
        "conftest.py": """
            import pathlib
            asked = []
            def pytest_collect_file(file_path):
                asked.append(file_path.name)
            def pytest_runtest_setup(item):
                pathlib.Path("asked").write_text(" ".join(asked))
        """,
    }
    for part in "abc":
        files[f"pkg/sub/test_{part}.py"] = f"def test_{part}(): pass\n"
        files["pkg/sub/__init__.py"] = files["pkg/__init__.py"] = "def setup_module(): pass\n"
    project = write_project(tmp_path, files)
    build = new_build(project, batch_s=0.001)
    build.run_shard(build.plan())
    assert {outcome.outcome for outcome in build.outcomes().values()} == {"passed"}
    asked = [name for name in (project / "asked").read_text().split() if name.startswith("test_")]
    assert sorted(asked) == ["test_a.py", "test_b.py", "test_c.py"]


def test_contexts_are_named_and_switched_as_pytest_cov_does_it(tmp_path):
    files = {
        "app.py": APP,
        "test_x.py": """
            import pytest
            from app import double, unused

            @pytest.fixture
            def two():
                yield double(1)
                unused()

            def test_it(two):
                assert double(two) == 4
        """,
    }
    build, _, _ = one_shard(write_project(tmp_path, files), contexts=True)
    data = CoverageData(str(build.combine().data_file))
    data.read()
    contexts = {line: set(names) for line, names in data.contexts_by_lineno("app.py").items()}
    assert contexts[2] == {""}
    assert contexts[4] == {"test_x.py::test_it|run"}
    assert contexts[5] == {"test_x.py::test_it|setup"}
    assert contexts[9] == {"test_x.py::test_it|teardown"}


def test_a_command_group_is_measured_and_its_failure_shown(tmp_path):
    files = {
        "app.py": APP,
        "checks/__init__.py": "",
        "checks/test_unit.py": """
            import unittest, app
            class Unit(unittest.TestCase):
                def test_ok(self): self.assertEqual(app.double(2), 4)
        """,
        "bad.py": "import sys; print('it broke'); sys.exit(7)\n",
    }
    groups = [
        {"name": "unit", "command": "python -m unittest discover checks"},
        {"name": "bad", "command": "python bad.py"},
    ]
    build, _, _ = one_shard(write_project(tmp_path, files), pytest=False, groups=groups)
    outcomes = build.outcomes()
    assert outcomes["group::unit"].outcome == "passed"
    assert (outcomes["group::bad"].outcome, outcomes["group::bad"].message) == ("failed", "exit status 7")
    assert "it broke" in outcomes["group::bad"].output
    assert lines_of(build.combine().data_file)["app.py"] == [2, 3, 4, 8]


def test_fixtures_of_wide_scope_are_torn_down_with_their_batch_so_that_its_data_is_whole(tmp_path):
    files = {
        "app.py": APP,
        "conftest.py": """
            import pytest, app
            @pytest.fixture(scope="session", autouse=True)
            def everything():
                yield
                app.unused()
        """,
        "test_x.py": "def test_x(): pass\n",
    }
    build, _, _ = one_shard(write_project(tmp_path, files))
    assert lines_of(build.combine().data_file)["app.py"] == [2, 8, 9]


def test_fixtures_of_conftests_reach_every_batch(tmp_path):
    conftest = """
        import pytest
        @pytest.fixture(params=[1, 2])
        def number(request): return request.param
    """
    tests = "def test_number(number): pass\n"
    files = {"pytest.ini": "[pytest]\ntestpaths = a b\n"}
    for folder in ("a", "b"):
        files |= {f"{folder}/conftest.py": conftest}
        files |= {f"{folder}/test_{folder}{k}.py": tests for k in range(2)}
    build, plan, _ = one_shard(write_project(tmp_path, files), batch_s=0.001)
    assert len(plan.batches) == 4
    assert [outcome.outcome for outcome in build.outcomes().values()] == ["passed"] * 8, build.outcomes()


def test_a_file_that_skips_itself_counts_as_a_skipped_test_and_is_measured_as_far_as_it_ran(tmp_path):
    files = {
        "app.py": APP,
        "test_x.py": "import pytest, app\napp.unused()\npytest.importorskip('nosuchmodule')\nprint()\n",
        "test_y.py": "def test_y(): pass\n",
    }
    build, plan, _ = one_shard(write_project(tmp_path, files))
    assert set(plan.tests) == {"test_x.py", "test_y.py::test_y"}
    outcome = build.outcomes()["test_x.py"]
    assert outcome.outcome == "skipped"
    assert "could not import 'nosuchmodule'" in outcome.message
    lines = lines_of(build.combine().data_file)
    assert (lines["app.py"], lines["test_x.py"]) == ([2, 8, 9], [1, 2, 3])


def test_what_runs_at_the_end_of_the_test_session_is_measured(tmp_path):
    files = {
        "app.py": APP,
        "conftest.py": "def pytest_sessionfinish():\n    import app\n    app.unused()\n",
        "test_x.py": "def test_x(): pass\n",
    }
    build, _, _ = one_shard(write_project(tmp_path, files))
    assert lines_of(build.combine().data_file)["app.py"] == [2, 8, 9]


def test_a_shard_told_to_stop_keeps_what_is_finished_and_another_goes_on(tmp_path):
    files = {
        "test_a.py": "def test_quick(): pass\n",
        "test_b.py": """
            import pathlib, time
            def test_slow():
                begun = pathlib.Path(__file__).with_name("begun")
                if not begun.exists():
                    begun.touch()
                    time.sleep(600)
        """,
    }
    project = write_project(tmp_path, files)
    build = new_build(project, batch_s=0.001, lease_s=30.0)
    plan, stop = build.plan(), threading.Event()
    ended = []
    thread = threading.Thread(target=lambda: ended.append(build.run_shard(plan, 1, stop)))
    thread.start()
    wait_for(lambda: build.results() and (project / "begun").exists(), "the second batch")
    stop.set()
    thread.join()
    assert ended[0].state == "stopped"
    assert set(build.outcomes()) == {"test_a.py::test_quick"}
    build.run_shard(plan, 2)  # at once, without waiting for the lease
    assert build.combine().ledger.verdict == "complete"


def test_a_shard_without_its_interpreter_says_what_to_set(tmp_path):
    from covfleet.errors import ConfigurationError

    project = write_project(tmp_path, {"test_x.py": "def test_x(): pass\n"})
    build = replace(new_build(project), launcher=None, python=str(tmp_path / "nosuchpython"))
    with pytest.raises(ConfigurationError, match="nosuchpython") as caught:
        build.plan()
    assert "`python`" in caught.value.hint


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_sent_to_a_test_s_process_loses_nothing(tmp_path, number):
    code = f"""
        import os, pathlib, time
        from app import double, unused
        def test_first(): double(1)
        def test_signalled():
            marker = pathlib.Path(__file__).with_name("sent")
            if not marker.exists():
                marker.touch()
                unused()
                os.kill(os.getpid(), {int(number)})
                time.sleep(0.1)
            unused()
        def test_last(): double(3)
    """
    project = write_project(tmp_path, {"app.py": APP, "test_x.py": code})
    build, _, _ = one_shard(project, checkpoint_s=1000)
    outcomes = [outcome.outcome for outcome in build.outcomes().values()]
    expected = "error" if number == signal.SIGINT else "passed"
    assert outcomes == ["passed", expected, "passed"]
    assert lines_of(build.combine().data_file)["app.py"] == [2, 3, 4, 5, 8, 9]


def test_credentials_of_this_process_do_not_reach_the_tests(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    monkeypatch.setenv("COVFLEET_STORE", "s3://secret")
    code = """
        import os
        def test_environment():
            found = {name for name in os.environ if name.startswith(("AWS_", "COVFLEET_"))}
            assert found == {f"COVFLEET_{name}" for name in ("BUILD", "SHARD", "SLOT", "WORKER")}
            assert os.environ["WANTED"] == "yes"
    """
    build, _, _ = one_shard(write_project(tmp_path, {"test_x.py": code}), env={"WANTED": "yes"})
    assert [outcome.outcome for outcome in build.outcomes().values()] == ["passed"], build.outcomes()


def test_the_worker_ends_when_its_agent_is_gone(tmp_path):
    import sys

    from covfleet.adapters.processes.launchers import WORKER
    from covfleet.worker.client import StartOptions

    project = write_project(tmp_path, {"test_x.py": "import time\ndef test_x(): time.sleep(60)\n"})
    (tmp_path / "out").mkdir()
    options = StartOptions(True, (), branch=None, contexts=False, core="auto", checkpoint_s=1)
    agent = f"""
import subprocess, sys, json, os
worker = subprocess.Popen([sys.executable, {str(WORKER)!r}, {str(tmp_path / "out")!r}], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, cwd={str(project)!r}, start_new_session=True)
for command in ({{"do": "start", **{asdict(options)!r}}},
                {{"do": "run", "tests": ["test_x.py::test_x"], "imports": []}}):
    worker.stdin.write(json.dumps(command).encode() + b"\\n")
worker.stdin.flush()
while b"running" not in (line := worker.stdout.readline()):
    if not line:
        sys.exit("the worker ended early")
print(worker.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    pid = int(subprocess.run([sys.executable, "-c", agent], stdout=subprocess.PIPE, check=False).stdout)
    deadline = time.monotonic() + 120
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        if "Z (zombie)" in Path(f"/proc/{pid}/status").read_text():
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{pid}").exists()
    assert os.getpid() != pid


class RivalledStore(LocalStore):
    """A store in which another shard's result of one batch arrives just before ours."""

    def __init__(self, root, rival_key, rival):
        super().__init__(root)
        self._rival_key, self._rival = rival_key, rival

    def put(self, key, data, **conditions):
        if key == self._rival_key and self._rival:
            rival, self._rival = self._rival, None
            super().put(key, rival, if_absent=True)
        return super().put(key, data, **conditions)


def test_imports_measured_in_a_batch_that_another_shard_finished_first_are_not_lost(tmp_path):
    files = {
        "app.py": APP,
        "test_a.py": "from app import double\ndef test_a(): assert double(1) == 2\n",
        "test_b.py": "import time\nfrom app import double\ndef test_b(): assert double(3) == 6\n",
    }
    build = new_build(write_project(tmp_path, files), batch_s=0.001)
    plan = build.plan()
    first = build.keys.result(plan.deals[0][0])
    batch = plan.batches[0]
    rival = BatchResult(
        commit=plan.commit,
        build=plan.build,
        batch=batch.id,
        shard=9,
        token="rival",
        duration_s=0.1,
        core="ctrace",
        outcomes=tuple(TestOutcome(test, "passed", 0.0) for test in batch.tests),
        data_files=(),
    )
    build.store = RivalledStore(tmp_path / ".covfleet" / "store", first, to_json(rival))
    build.run_shard(plan)
    results = build.results()
    assert results[batch.id].token == "rival"
    assert lines_of(build.combine().data_file)["app.py"][:2] == [2, 3]  # the `def` lines: import time


def test_what_a_worker_compiles_is_kept_for_the_next_one_and_renames_no_commit(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    project = write_project(tmp_path, {"app.py": APP, "test_app.py": "import app\ndef test_app(): pass\n"})
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *identity, *command], cwd=project, check=True)
    before = GitTree(os.environ).describe(project)
    one_shard(project)
    assert {path.name.split(".")[0] for path in project.glob("__pycache__/*.pyc")} == {"app", "test_app"}
    assert GitTree(os.environ).describe(project) == before
