"""The rendered multi-job, executed phase by phase: clones, shells and covfleet are real, not Jenkins."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from covfleet.adapters.folder.store import LocalStore
from covfleet.jenkins.jobs import definitions
from covfleet.settings.load import load_settings
from covfleet.store.keys import CommitKeys
from support.dataset_equal import arcs_by_file
from support.jenkins_project import ALL_LINES, TESTS, SmallProject, settings_table
from support.jenkinsfiles import commit_all
from support.multijobs import MultiJob
from support.processes import start_covfleet

SAMPLE = Path(__file__).parents[2] / "examples" / "trading"
COPIED = shutil.ignore_patterns(".covfleet", "__pycache__")


def multijob_of(root: Path, folder: Path) -> MultiJob:
    jobs = definitions(load_settings(root, {"jenkins.repository": str(root)}, {}), root).jobs
    return MultiJob(jobs, folder, {})


@pytest.fixture
def project(tmp_path: Path) -> SmallProject:
    return SmallProject(tmp_path)


def test_shards_that_do_nothing_fail_the_multi_job_though_combine_runs(project: SmallProject) -> None:
    broken = project.before_covfleet('[ "$1" != shard ] || exit 6')
    project.write(jenkins=broken)
    result, builds = multijob_of(project.root, project.folder / "agents").build("covfleet-multi")
    assert result == "FAILURE"
    assert [build.result for build in builds] == ["SUCCESS", "FAILURE", "FAILURE", "FAILURE"]
    assert "tests/test_odd.py::test_odd" in builds[-1].log


def test_without_a_plan_no_shard_starts(project: SmallProject) -> None:
    project.write(jenkins=project.before_covfleet('[ "$1" != plan ] || exit 2'))
    result, builds = multijob_of(project.root, project.folder / "agents").build("covfleet-multi")
    assert (result, [build.phase for build in builds]) == ("FAILURE", ["image"])


def test_a_failed_test_makes_the_multi_job_unstable_with_all_reports(project: SmallProject) -> None:
    failing = {"tests/test_wrong.py": "from app import half\n\ndef test_wrong():\n    assert half(2) == 2\n"}
    commit = project.write(TESTS | failing)
    result, builds = multijob_of(project.root, project.folder / "agents").build("covfleet-multi")
    assert result == "UNSTABLE", [build.log for build in builds]
    assert (builds[-1].workspace / ".covfleet" / "reports" / "coverage.xml").is_file()
    assert project.ledger(commit).verdict == "complete"
    assert project.lines(commit) == ALL_LINES


@pytest.mark.slow
def test_the_sample_gives_what_a_local_run_gives(tmp_path: Path) -> None:
    root = Path(shutil.copytree(SAMPLE, tmp_path / "trading", ignore=COPIED))
    local = Path(shutil.copytree(SAMPLE, tmp_path / "local", ignore=COPIED))
    ran = start_covfleet("run", "--project", local, "--shards", "3", log=tmp_path / "local.log")
    assert ran.wait(120) == 0, (tmp_path / "local.log").read_text()

    settings = (root / "pyproject.toml").read_text()
    top = f"[tool.covfleet]\nstore = '{tmp_path}/store'\n"
    settings = settings.replace("[tool.covfleet]\n", top).replace("shards = 6", "shards = 3")
    (root / "pyproject.toml").write_text(settings + settings_table(gate={"total": 50}))
    commit = commit_all(root)
    result, builds = multijob_of(root, tmp_path / "agents").build("covfleet-multi")
    assert result == "SUCCESS", [build.log for build in builds]
    aliases = ["image and plan", "shard 1", "shard 2", "shard 3", "combine and report"]
    assert [build.alias for build in builds] == aliases
    LocalStore(tmp_path / "store").download(CommitKeys(commit).combined, tmp_path / "combined")
    assert arcs_by_file(tmp_path / "combined") == arcs_by_file(local / ".covfleet" / ".coverage")
