"""A suite of about two seconds, spread over many files: every test executes lines and arcs of its own.

So a test that is lost shows in the coverage, whichever it is. The tests wait more than they compute, so that
shards that are killed in the middle of one don't fight for the processor with their successors.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from covfleet.adapters.folder.store import LocalStore
from covfleet.model import Plan
from covfleet.ports.worker import WorkerLauncher
from covfleet.settings.schema import Settings
from covfleet.store.keys import BuildKeys, CommitKeys

from support.dataset_equal import raw_digest
from support.runs import QUICK, Build, write_project

FILES = 10
TESTS_A_FILE = 5
TESTS = FILES * TESTS_A_FILE
SETTINGS = Settings(**QUICK, branch_coverage=True, contexts=True, batch_s=0.001)  # a batch a file

_APP = """
def part_{number}(chosen):
    passed = []
    for step in range({tests}):
        if step == chosen:
            passed.append("chosen")
        elif step > chosen:
            passed.append("after")
{branches}
    return passed
"""
_BRANCH = """
    if chosen == {test}:
        passed.append("only test {test}")
"""
_TEST_FILE = """
import time
import pytest
from app.part_{number} import part_{number}

@pytest.mark.parametrize("chosen", range({tests}))
def test_part(chosen):
    time.sleep(0.02)
    assert "only test %d" % chosen in part_{number}(chosen)
    time.sleep(0.02)
"""
_RAN = """
import os

def pytest_runtest_setup(item):
    with open(os.environ.get("RAN", os.devnull), "a") as ran:
        ran.write(item.nodeid + "\\n")
"""
_SETTINGS = """
[tool.coverage.run]
branch = true
source = ["app"]

[tool.pytest.ini_options]
pythonpath = ["."]
testpaths = ["tests"]

[tool.covfleet]
batch_s = 0.001
lease_s = 1.0
heartbeat_s = 0.2
checkpoint_s = 0.05
"""


def write_spread_project(root: Path) -> Path:
    """Write the suite below ``root`` and return it: ``FILES`` batches of ``TESTS_A_FILE`` tests each.

    Each test writes its id into the file that the environment variable RAN names.
    """
    branches = "".join(_BRANCH.format(test=test) for test in range(TESTS_A_FILE))
    files = {"pyproject.toml": _SETTINGS, "conftest.py": _RAN, "app/__init__.py": ""}
    for number in range(FILES):
        numbered = {"number": number, "tests": TESTS_A_FILE}
        files[f"app/part_{number}.py"] = _APP.format(**numbered, branches=branches)
        files[f"tests/test_part_{number}.py"] = _TEST_FILE.format(**numbered)
    return write_project(root, files)


@dataclass(frozen=True)
class Planned:
    """A planned build of the suite, to be copied and run again and again, and what it gives undisturbed."""

    project: Path
    store: Path
    plan: Plan
    keys: BuildKeys
    launcher: WorkerLauncher | None  # None: plain processes
    digest: dict[str, str] = field(default_factory=dict)
    alone_s: float = 0.0  # what one undisturbed shard takes

    def copy(self, folder: Path) -> Build:
        """Return the build as it was planned, with project, store and workers in a folder of its own."""
        shutil.copytree(self.store, folder / "store")
        project = shutil.copytree(self.project, folder / "project")
        return Build(project, LocalStore(folder / "store"), SETTINGS, self.keys, self.launcher)


def plan_spread_project(
    folder: Path, build: str = "b1", launcher_for: Callable[[Path], WorkerLauncher | None] = lambda _: None
) -> Planned:
    """Write the suite, plan it, run it undisturbed, return all that; ``launcher_for`` gets the project."""
    project, store = write_spread_project(folder / "project"), folder / "planned"
    keys, launcher = CommitKeys("c0ffee").build(build), launcher_for(project)
    plan = Build(project, LocalStore(store), SETTINGS, keys, launcher).plan()
    assert (len(plan.batches), len(plan.tests)) == (FILES, TESTS)
    planned = Planned(project, store, plan, keys, launcher)
    undisturbed = planned.copy(folder / "undisturbed")
    began = time.monotonic()
    undisturbed.run_shard(plan)
    alone_s = time.monotonic() - began
    return replace(planned, digest=digest_of_complete(undisturbed), alone_s=alone_s)


def run_and_kill(planned: Planned, build: Build, chance: Random, kill: Callable[[int], bool]) -> int:
    """Run two shards in threads, and for each call ``kill(shard)`` once, at any moment of the run.

    Both shards must live through it. Returns how often ``kill`` found something to kill.
    """
    kill_at = {shard: chance.uniform(0, 0.6 * planned.alone_s) for shard in (1, 2)}
    with ThreadPoolExecutor(2) as pool:
        began, hits = time.monotonic(), 0
        shards = [pool.submit(build.run_shard, planned.plan, shard) for shard in (1, 2)]
        for shard, moment in sorted(kill_at.items(), key=lambda pair: pair[1]):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            hits += kill(shard)
        assert [shard.result().state for shard in shards] == ["finished", "finished"]
    return hits


def digest_of_complete(build: Build) -> dict[str, str]:
    """Return what the build's coverage says; fail unless it is complete and all tests passed."""
    combined = build.combine()
    assert combined.ledger.verdict == "complete"
    assert combined.ledger.outcomes == {"passed": TESTS}, combined.ledger.notes
    return raw_digest(combined.data_file)
