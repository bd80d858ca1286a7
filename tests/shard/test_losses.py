"""What a worker can lose: its disk, its data file, its tests, its life between two savings."""

from __future__ import annotations

import pytest
from covfleet.errors import WorkerError
from covfleet.model import Heartbeat
from covfleet.store.encoding import from_json
from support.mounts import tmpfs
from support.runs import lines_of, new_build, write_project

APP = """
    def double(x):
        if x > 1:
            return 2 * x
        return x + x
"""
DOUBLE_ALL = [2, 3, 4, 5]


def test_a_full_disk_ends_the_shard_with_the_reason_and_another_shard_goes_on(tmp_path):
    files = {
        "app.py": APP,
        "test_a.py": "from app import double\ndef test_first(): double(1)\n",
        "test_b.py": """
            import os
            from app import double
            def test_fills_the_disk():
                double(3)
                if os.path.ismount(os.environ["WORK"]):
                    with open(os.environ["WORK"] + "/junk", "wb", buffering=0) as junk:
                        while junk.write(bytes(4096)) == 4096:
                            pass
        """,
    }
    project = write_project(tmp_path, files)
    work = project / ".covfleet" / "work"
    build = new_build(project, batch_s=0.001, checkpoint_s=1000, env={"WORK": f"{work}"})
    plan = build.plan()
    work.mkdir()
    with tmpfs(work, "size=256k"), pytest.raises(WorkerError, match="No space left on device"):
        build.run_shard(plan)
    last = from_json(Heartbeat, build.store.get(build.keys.shard(1)).data, name="heartbeat")
    assert (last.state, "No space left" in last.detail) == ("failed", True)
    assert "test_b.py::test_fills_the_disk" not in build.outcomes()
    build.run_shard(plan, 2)  # at once, without waiting for the lease
    assert {outcome.outcome for outcome in build.outcomes().values()} == {"passed"}
    combined = build.combine()
    assert combined.ledger.verdict == "complete"
    assert lines_of(combined.data_file)["app.py"] == DOUBLE_ALL


def test_a_data_file_that_vanishes_is_missed(tmp_path):
    # The first test's lines are on disk by then, and coverage.py itself goes on with an empty file.
    files = {
        ".coveragerc": "[run]\nsource = .\nomit = test_*\n",
        "app.py": APP,
        "test_x.py": """
            import os, pathlib, time
            from app import double
            def test_first():
                time.sleep(0.2)
                double(1)
            def test_deletes():
                for path in pathlib.Path(os.environ["WORK"]).rglob(".coverage.*"):
                    path.unlink()
        """,
    }
    project = write_project(tmp_path, files)
    build = new_build(project, checkpoint_s=0.001, env={"WORK": f"{project / '.covfleet' / 'work'}"})
    build.run_shard(build.plan())
    for outcome in build.outcomes().values():
        assert outcome.outcome == "crashed"
        assert "was deleted or replaced while tests ran" in outcome.output


@pytest.mark.parametrize("change", ["emptied", "deleted"])
def test_a_batch_in_which_no_test_is_left_names_every_planned_one(tmp_path, change):
    files = {
        "test_x.py": "def test_one(): pass\ndef test_two(): pass\n",
        "test_y.py": "def test_y(): pass\n",
    }
    project = write_project(tmp_path, files)
    build = new_build(project, batch_s=0.001)
    plan = build.plan()
    if change == "emptied":
        (project / "test_x.py").write_text("")
    else:
        (project / "test_x.py").unlink()
    build.run_shard(plan)
    assert {test: outcome.outcome for test, outcome in build.outcomes().items()} == {
        "test_x.py::test_one": "error",
        "test_x.py::test_two": "error",
        "test_y.py::test_y": "passed",
    }


def test_what_was_saved_survives_sigkill_and_does_not_run_again(tmp_path):
    files = {
        "app.py": APP,
        "test_x.py": """
            import os, pathlib, signal, time
            from app import double
            def test_saved():
                with open(os.environ["RAN"], "a") as ran:
                    ran.write("once ")
                time.sleep(0.2)
                double(1)
            def test_killed_the_first_time():
                killed = pathlib.Path(os.environ["RAN"] + ".killed")
                if not killed.exists():
                    killed.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                double(3)
        """,
    }
    ran = tmp_path / "ran"
    build = new_build(write_project(tmp_path / "project", files), checkpoint_s=0.001, env={"RAN": f"{ran}"})
    build.run_shard(build.plan())
    assert {outcome.outcome for outcome in build.outcomes().values()} == {"passed"}
    assert ran.read_text() == "once "
    assert lines_of(build.combine().data_file)["app.py"] == DOUBLE_ALL


def test_a_limit_on_memory_fails_the_test_that_meets_it_and_no_other(tmp_path):
    code = """
        import resource
        def test_greedy():
            before = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (400 * 2**20, before[1]))
            try:
                bytearray(2**30)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, before)
        def test_modest(): pass
    """
    build = new_build(write_project(tmp_path, {"test_x.py": code}))
    build.run_shard(build.plan())
    outcomes = build.outcomes()
    assert (outcomes["test_x.py::test_greedy"].outcome, outcomes["test_x.py::test_modest"].outcome) == (
        "failed",
        "passed",
    )
    assert "MemoryError" in outcomes["test_x.py::test_greedy"].message
