"""The generated jobs on a real controller, from a repository to the exit code of ``covfleet jenkins run``.

They run where ``COVFLEET_TEST_JENKINS_URL`` names a controller of this machine whose own node (label
``built-in``) runs builds as a user that may read this environment and write below pytest's temporary folder.
Its plugins must be those that `covfleet jenkins apply` asks for.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from covfleet.jenkins.jobs import definitions
from covfleet.settings.load import load_settings
from support.controllers import Place, real_place
from support.jenkinsfiles import commit_all
from support.processes import covfleet, wait_for

SAMPLE = Path(__file__).parents[2] / "examples" / "trading"
FAILING = "def test_it():\n    assert False\n"


@pytest.fixture
def real() -> Iterator[Place]:
    with real_place() as place:
        yield place


@pytest.fixture
def project(tmp_path: Path, real: Place) -> Iterator[Path]:
    """The sample project, with the controller and a store beside it in its settings, served by git."""
    folder, port = tmp_path / "served" / "trading", free_port()
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns(".covfleet", "__pycache__"))
    command = shlex.join([sys.executable, "-P", "-m", "covfleet"])
    jenkins = {
        "repository": f"git://127.0.0.1:{port}/trading",
        "folder": real.folder,
        "label": "built-in",
        "light_label": "built-in",
        "covfleet": command,
    }
    settings = folder / "pyproject.toml"
    table = "\n".join(f"{key} = {json.dumps(value)}" for key, value in jenkins.items())
    top = f"shards = 3\nstore = {json.dumps(f'{tmp_path}/store')}"
    text = settings.read_text("utf-8").replace("shards = 6", top)
    settings.write_text(f"{text}\n[tool.covfleet.jenkins]\n{table}\n", "utf-8")
    with served(folder.parent, port):
        yield folder


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def served(folder: Path, port: int) -> Iterator[None]:
    """Serve the repositories in a folder: Jenkins refuses to clone from a path of its own machine."""
    programs = subprocess.run(
        ["git", "--exec-path"], capture_output=True, text=True, timeout=20, check=True
    ).stdout.strip()
    command = [f"{programs}/git-daemon", "--export-all", f"--base-path={folder}", "--listen=127.0.0.1"]
    anyones = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    daemon = subprocess.Popen(
        [*command, f"--port={port}"], env={**os.environ, **anyones}, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: listens(port), "git's daemon")
        yield
    finally:
        daemon.terminate()
        daemon.wait(timeout=20)


def built(real: Place, project: Path, driver: str) -> dict[str, object]:
    """Put the jobs on the controller, run one, and return its row of the status, with the exit code."""
    assert covfleet(project, "jenkins", "render").returncode == 0
    commit = commit_all(project)
    for name, xml in definitions(load_settings(project, {}, {}), project).jobs.items():
        real.controller.create_job(name, xml)
    environ = real.environment
    ran = covfleet(
        project, "jenkins", "run", "--follow", "--console", "--driver", driver, timeout_s=900, **environ
    )
    told = covfleet(project, "jenkins", "status", "--driver", driver, "--json", **environ)
    [row] = json.loads(told.stdout)["builds"]
    assert row["commit"] == commit, ran.stdout + ran.stderr
    return {**row, "exit_code": ran.returncode, "said": ran.stdout + ran.stderr}


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["pipeline", "multijob"])
def test_the_sample_project_is_built_by_three_shards(real: Place, project: Path, driver: str) -> None:
    row = built(real, project, driver)
    assert (row["result"], row["exit_code"], row["verdict"]) == ("SUCCESS", 0, "complete"), row["said"]
    assert row["shards"] == 3
    assert row["coverage"]


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["pipeline", "multijob"])
def test_a_failing_test_makes_the_build_unstable(real: Place, project: Path, driver: str) -> None:
    (project / "tests" / "test_that_fails.py").write_text(FAILING)
    row = built(real, project, driver)
    assert (row["result"], row["exit_code"], row["verdict"]) == ("UNSTABLE", 3, "complete"), row["said"]
