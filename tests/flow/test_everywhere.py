"""One project, one result: as processes or in containers, with a folder or a real S3 server as the store.

The oracle is stock coverage.py: the same suites run serially, combined by its own command.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from covfleet.adapters.stores import open_store
from covfleet.settings.schema import Settings
from covfleet.store.keys import CommitKeys
from support.dataset_equal import arcs_by_file
from support.processes import covfleet

SAMPLE = Path(__file__).parents[2] / "examples" / "trading"
SHARDS = "3"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The sample under the same commit name for everyone: without git it is a hash of the content."""
    ignore = shutil.ignore_patterns(".covfleet", "__pycache__")
    return Path(shutil.copytree(SAMPLE, tmp_path / "trading", ignore=ignore))


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[int, int]]]:
    """What stock coverage.py measures when everything runs in one place."""
    project = tmp_path_factory.mktemp("serial") / "trading"
    shutil.copytree(SAMPLE, project, ignore=shutil.ignore_patterns(".covfleet", "__pycache__"))
    settings = project / ".coveragerc"
    settings.write_text(
        "[run]\nbranch = true\nsource = trades, rating, clients\nparallel = true\nrelative_files = true\n"
        "patch = subprocess\n"
    )
    for suite in (["pytest", "-q"], ["unittest", "discover", "-s", "acceptance", "-t", "."]):
        subprocess.run([sys.executable, "-m", "coverage", "run", "-m", *suite], cwd=project, check=True)
    subprocess.run([sys.executable, "-m", "coverage", "combine"], cwd=project, check=True)
    return arcs_by_file(project / ".coverage")


def test_processes_and_a_folder_give_what_a_serial_run_gives(project, serial):
    ran = covfleet(project, "run", "--shards", SHARDS, "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["verdict"] == "complete"
    assert arcs_by_file(project / ".covfleet" / ".coverage") == serial


@pytest.mark.s3
def test_processes_and_s3_give_the_same(project, serial, seaweed, s3_url):
    where = ("--store", s3_url, "--endpoint-url", seaweed.endpoint_url)
    ran = covfleet(project, "run", "--shards", SHARDS, *where)
    assert ran.returncode == 0, ran.stderr
    assert arcs_by_file(project / ".covfleet" / ".coverage") == serial


@pytest.mark.docker
@pytest.mark.s3
def test_containers_and_s3_give_the_same_stage_by_stage(project, serial, seaweed, s3_url, base_image):
    settings = {
        "COVFLEET_STORE": s3_url,
        "COVFLEET_ENDPOINT_URL": seaweed.endpoint_url,
        "COVFLEET_EXECUTOR": "docker",
        "COVFLEET_SHARDS": SHARDS,
        "COVFLEET_IMAGE__BASE": base_image,
        "COVFLEET_IMAGE__CA_BUNDLE": os.environ.get("PIP_CERT", ""),
        "COVFLEET_LEASE_S": "10",
        "COVFLEET_HEARTBEAT_S": "1",
    }
    shards = [("shard", f"{shard}") for shard in range(1, int(SHARDS) + 1)]
    for stage in (("image",), ("plan",), *shards, ("combine",), ("report",), ("gate", "--gate-line", "90")):
        ran = covfleet(project, *stage, "--commit", "c0ffee", **settings)
        assert ran.returncode == 0, (stage, ran.stderr)
    site = project.parent / "site"
    assert covfleet(project, "publish", "--commit", "c0ffee", "--site", f"{site}", **settings).returncode == 0
    published = next(site.rglob("coverage.json"))
    assert json.loads(published.read_text())["totals"]["num_statements"] > 0
    store = open_store(s3_url, Settings(endpoint_url=seaweed.endpoint_url), project)
    store.download(CommitKeys("c0ffee").combined, project / "combined")
    assert arcs_by_file(project / "combined") == serial


def test_a_commit_s_folder_is_combined_by_stock_coverage_to_the_same(project, serial):
    assert covfleet(project, "run", "--shards", SHARDS).returncode == 0
    [folder] = [path for path in (project / ".covfleet" / "store").iterdir() if (path / "builds").is_dir()]
    downloaded = project / "downloaded"
    downloaded.mkdir()
    for path in folder.glob(".coverage.*"):
        shutil.copy(path, downloaded)
    command = [sys.executable, "-m", "coverage", "combine", "--data-file=downloaded/.coverage", "downloaded"]
    subprocess.run(command, cwd=project, check=True)
    assert arcs_by_file(downloaded / ".coverage") == serial


def test_a_folder_that_stock_tools_filled_is_combined_as_unverified(project, serial, tmp_path):
    filled = tmp_path / "store" / "abc123"
    filled.mkdir(parents=True)
    settings = project / ".coveragerc"
    settings.write_text(
        "[run]\nbranch = true\nsource = trades, rating, clients\nparallel = true\nrelative_files = true\n"
        f"patch = subprocess\ndata_file = {filled}/.coverage\n"
    )
    for suite in (["pytest", "-q"], ["unittest", "discover", "-s", "acceptance", "-t", "."]):
        subprocess.run([sys.executable, "-m", "coverage", "run", "-m", *suite], cwd=project, check=True)
    settings.unlink()
    ran = covfleet(project, "combine", "--store", str(tmp_path / "store"), "--commit", "abc123", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["verdict"] == "unverified"
    assert arcs_by_file(filled / ".coverage") == serial
