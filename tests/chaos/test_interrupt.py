"""SIGINT and SIGTERM to ``covfleet run``: its children go with it, and the same build can be continued."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from covfleet.errors import InterruptedRunError
from support.processes import pids_with, start_covfleet, wait_for
from support.runs import Build
from support.spread import Planned, digest_of_complete


def run(build: Build, folder: Path) -> subprocess.Popen[bytes]:
    """Start ``covfleet run`` of the build; its tests write their ids into ``ran``.

    Temporary folders lie in ``folder`` too, so that it is on the command line of every child.
    """
    where = ["--project", f"{build.project}", "--store", build.store.url]
    which = ["--commit", build.keys.commit, "--build", build.keys.build]
    environ = {"RAN": f"{folder / 'ran'}", "TMPDIR": f"{folder}"}
    return start_covfleet("run", *where, *which, log=folder / "run.log", **environ)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_its_children_and_is_continued(
    planned: Planned, tmp_path: Path, number: signal.Signals
) -> None:
    build = planned.copy(tmp_path)
    first = run(build, tmp_path)
    wait_for(build.results, "the first result")
    first.send_signal(number)
    assert first.wait(30) == InterruptedRunError.exit_code
    assert pids_with(f"{tmp_path}/") == []
    said = (tmp_path / "run.log").read_text()
    assert f"--build {build.keys.build}" in said
    kept = build.results()
    done = set(build.outcomes())
    assert done < set(planned.plan.tests)
    (tmp_path / "ran").unlink()

    second = run(build, tmp_path)
    assert second.wait(60) == 0, (tmp_path / "run.log").read_text()
    assert kept.items() <= build.results().items()
    ran = (tmp_path / "ran").read_text().split()
    assert sorted(ran) == sorted(set(planned.plan.tests) - done)
    assert digest_of_complete(build) == planned.digest
    assert pids_with(f"{tmp_path}/") == []


@pytest.mark.parametrize("child", ["covfleet_worker", "covfleet shard 1", "covfleet shard 2"])
def test_a_run_that_is_interrupted_as_a_child_of_it_starts_leaves_no_process_behind(
    planned: Planned, tmp_path: Path, child: str
) -> None:
    build = planned.copy(tmp_path)
    build.keys = build.keys.of_commit.build("b2")  # which has no plan yet: a worker collects first
    begun = run(build, tmp_path)
    wait_for(lambda: set(pids_with(child)) & set(pids_with(f"{tmp_path}/")), f"the start of {child}")
    begun.send_signal(signal.SIGINT)
    assert begun.wait(30) == InterruptedRunError.exit_code, (tmp_path / "run.log").read_text()
    assert pids_with(f"{tmp_path}/") == []
