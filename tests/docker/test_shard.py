"""Whole shards in containers: limits that tests run into, and containers that somebody ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from covfleet.adapters.docker.engine import DockerEngine
from covfleet.adapters.docker.worker import DockerLauncher
from covfleet.adapters.processes.launchers import WORKER
from covfleet.errors import ObjectNotFoundError
from covfleet.model import Heartbeat
from covfleet.ports.engine import BuildRequest
from covfleet.settings.schema import ContainerSettings
from covfleet.store.encoding import from_json
from support.processes import wait_for
from support.runs import Build, lines_of, new_build, write_project

pytestmark = [pytest.mark.docker, pytest.mark.slow]

FILES = {
    "app.py": """
        def double(x):
            if x > 1:
                return 2 * x
            return x + x
    """,
    "test_limits.py": """
        import os, subprocess, sys, threading, time
        from app import double

        def test_before():
            double(1)

        def test_greedy():
            len(bytearray(os.urandom(1)) * 300_000_000)

        def test_greedy_child():
            greedy = "import os; len(bytearray(os.urandom(1)) * 300_000_000)"
            assert subprocess.run([sys.executable, "-c", greedy], check=False).returncode == -9

        def test_threads():
            for _ in range(100):
                threading.Thread(target=time.sleep, args=(2,), daemon=True).start()

        def test_after():
            double(3)
    """,
    "test_long.py": """
        import time
        from app import double

        def test_one():
            double(1)

        def test_two():
            time.sleep(3)
            double(3)
    """,
    "Dockerfile": "ARG BASE\nFROM ${BASE}\nWORKDIR /app\nCOPY *.py ./\n",
}

NewBuild = Callable[..., Build]


@pytest.fixture
def new(applications: str, engine: DockerEngine, tmp_path: Path, name: str) -> NewBuild:
    """Make a build of one test file, with its tests in containers: ``new("test_x.py", memory="64m")``."""
    project = write_project(tmp_path / "project", FILES)
    image = f"{name}:1"
    engine.build(BuildRequest(project, project / "Dockerfile", image, {}, {"BASE": applications}), print)

    def make(tests: str, **limits: object) -> Build:
        build = new_build(project, pytest_args=(tests,))
        build.keys = replace(build.keys, build=name)
        settings = ContainerSettings(**limits)
        build.launcher = DockerLauncher(image, settings, "/opt/whole/bin/python", {}, WORKER)
        return build

    return make


def test_limits_fail_the_tests_that_meet_them_and_no_other(new: NewBuild) -> None:
    build = new("test_limits.py", memory="128m", pids=48)
    build.run_shard(build.plan())
    outcomes = {test.partition("::test_")[2]: outcome for test, outcome in build.outcomes().items()}
    assert {test: outcome.outcome for test, outcome in outcomes.items()} == {
        "before": "passed",
        "greedy": "crashed",
        "greedy_child": "passed",
        "threads": "failed",
        "after": "passed",
    }
    assert outcomes["greedy"].message.endswith("killed for using too much memory")
    assert "can't start new thread" in outcomes["threads"].message
    combined = build.combine()
    assert combined.ledger.verdict == "complete"
    assert lines_of(combined.data_file)["app.py"] == [2, 3, 4, 5]


def running(build: Build) -> str:
    """Return the test that shard 1 runs, as its heartbeat has it."""
    key = build.keys.shard(1)
    try:
        return from_json(Heartbeat, build.store.get(key).data, name=key).current
    except ObjectNotFoundError:
        return ""


@pytest.mark.parametrize("end", ["killed", "removed"])
def test_a_container_that_somebody_ends_loses_nothing(
    new: NewBuild, client: docker.APIClient, name: str, end: str
) -> None:
    build = new("test_long.py")
    plan = build.plan()
    shard = threading.Thread(target=build.run_shard, args=(plan,))
    shard.start()
    wait_for(lambda: running(build).endswith("::test_two"), "the second test")
    [container] = client.containers(filters={"label": [f"covfleet.build={name}", "covfleet.shard=1"]})
    if end == "killed":
        client.kill(container["Id"], signal.SIGKILL)
    else:
        client.remove_container(container["Id"], force=True)
    shard.join()
    assert {outcome.outcome for outcome in build.outcomes().values()} == {"passed"}
    assert any("killed by signal 9" in note for note in build.notes())
    combined = build.combine()
    assert combined.ledger.verdict == "complete"
    assert lines_of(combined.data_file)["app.py"] == [2, 3, 4, 5]
