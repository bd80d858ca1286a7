"""``kill -9`` at random points: the result is complete and the same, or it says what is missing.

Each of twenty seeds picks its moment anew, anywhere in a run. What that moment hits depends on the machine
too, so a seed that fails may need to be run more than once to fail again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from covfleet.adapters.processes import worker as process_worker
from covfleet.adapters.processes.launchers import WORKER
from covfleet.errors import IncompleteDataError, WorkerError
from covfleet.model import Heartbeat, Ledger
from covfleet.store.encoding import from_json
from support.processes import kill_one_with, pids_with, start_covfleet, wait_for
from support.runs import Build
from support.spread import Planned, digest_of_complete, run_and_kill

SEEDS = range(20)
SIDE_BY_SIDE = 2

Scenario = Callable[[Build, Path, Random], int]


def run_seeds(planned: Planned, tmp_path: Path, scenario: Scenario) -> int:
    """Run the scenario with every seed, some at once; return how many processes were killed."""

    def run(seed: int) -> int:
        folder = tmp_path / f"seed-{seed}"
        folder.mkdir()
        build = planned.copy(folder)
        try:
            killed = scenario(build, folder, Random(f"{scenario.__name__} {seed}"))
            assert digest_of_complete(build) == planned.digest
        except Exception as error:
            error.add_note(f"with seed {seed} of {scenario.__name__}")
            raise
        return killed

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return sum(pool.map(run, SEEDS))


@pytest.mark.slow
def test_killed_workers_lose_nothing(planned: Planned, tmp_path: Path) -> None:
    def kill_a_worker_of_each_shard(build: Build, folder: Path, chance: Random) -> int:
        workers = f"{build.project}/.covfleet/work/{build.keys.build}"
        return run_and_kill(planned, build, chance, lambda shard: kill_one_with(f"{workers}-{shard}-"))

    assert run_seeds(planned, tmp_path, kill_a_worker_of_each_shard) > len(SEEDS)


@pytest.mark.slow
def test_what_a_killed_shard_held_is_taken_over(planned: Planned, tmp_path: Path) -> None:
    def kill_a_shard(build: Build, folder: Path, chance: Random) -> int:
        shards = [start_shard(build, folder, shard) for shard in (1, 2)]
        time.sleep(chance.uniform(0, planned.alone_s))
        victim, survivor = chance.sample(shards, 2)
        killed = victim.poll() is None
        victim.kill()
        victim.wait()
        assert survivor.wait(60) == 0, said_in(folder)
        wait_for(lambda: not pids_with(f"{folder}/"), "the end of the killed shard's worker")
        return killed

    assert run_seeds(planned, tmp_path, kill_a_shard) > len(SEEDS) / 2


@pytest.mark.parametrize(("deaths", "state"), [(1, "finished"), (2, "failed")])
def test_a_worker_that_is_killed_while_it_starts_is_started_again_once(
    planned: Planned, tmp_path: Path, deaths: int, state: str
) -> None:
    build = planned.copy(tmp_path)
    doomed = tmp_path / "python"
    doomed.write_text(
        f"""#!/bin/sh
        echo >> {tmp_path}/starts
        [ $(wc -l < {tmp_path}/starts) -le {deaths} ] && kill -9 $$
        exec {sys.executable} "$@"
        """
    )
    doomed.chmod(0o755)
    environment = process_worker.tests_environment(os.environ, {})
    build.launcher = process_worker.ProcessLauncher(str(doomed), build.project, environment, WORKER)
    try:
        build.run_shard(planned.plan)
    except WorkerError as error:
        assert "killed by signal 9" in str(error)
    heartbeat = from_json(Heartbeat, build.store.get(build.keys.shard(1)).data, name="heartbeat")
    assert heartbeat.state == state


def test_with_no_shard_left_the_missing_tests_are_named(planned: Planned, tmp_path: Path) -> None:
    build = planned.copy(tmp_path)
    shards = [start_shard(build, tmp_path, shard) for shard in (1, 2)]
    wait_for(build.results, "the first result")
    for shard in shards:
        shard.kill()
        shard.wait()
    missing = set(planned.plan.tests) - set(build.outcomes())
    assert missing
    combined = start_covfleet("combine", *of_build(build), log=tmp_path / "combine.log")
    assert combined.wait(60) == IncompleteDataError.exit_code
    ledger = from_json(Ledger, build.store.get(build.keys.ledger).data, name="ledger")
    assert ledger.verdict == "partial"
    assert {problem.subject for problem in ledger.problems} == missing
    said = (tmp_path / "combine.log").read_text()
    assert sum(test in said for test in missing) >= min(len(missing), 10)
    assert f"{len(missing)} missing" in said


def start_shard(build: Build, folder: Path, shard: int) -> subprocess.Popen[bytes]:
    return start_covfleet("shard", str(shard), *of_build(build), log=folder / f"shard-{shard}.log")


def of_build(build: Build) -> list[str]:
    """Return the flags that name the build."""
    keys = build.keys
    where = ["--project", f"{build.project}", "--store", build.store.url]
    return [*where, "--commit", keys.commit, "--build", keys.build]


def said_in(folder: Path) -> str:
    return "\n".join(log.read_text() for log in folder.glob("*.log"))
