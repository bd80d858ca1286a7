"""The cores for contexts inside of containers: ``covfleet doctor --measure``, and batches run again."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import docker
import pytest
from covfleet.adapters.docker.engine import DockerEngine
from covfleet.model import Ledger
from covfleet.ports.engine import BuildRequest
from covfleet.store.encoding import from_json
from support.containers import kept_image
from support.interpreters import NEWEST, environment, monitoring_interpreter
from support.runs import write_project

pytestmark = [pytest.mark.docker, pytest.mark.slow]

FILES = {
    "app.py": "def work(x):\n    total = 0\n    for n in range(x):\n        total += n\n    return total\n",
    "test_a.py": "import app\ndef test_a(): assert app.work(3) == 3\n",
    "test_b.py": "import app\ndef test_b(): assert app.work(0) == 0\n",
}
PYTHON = """
ARG BASE
FROM ${BASE}
COPY python /opt/python
COPY packages /opt/packages
ENV LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/packages
RUN /opt/python/bin/python3 -c "import coverage, pytest, sqlite3, sys; sys.monitoring"
"""


@pytest.fixture(scope="module")
def python_image(base_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with an interpreter of this machine on which covfleet's own core can measure."""
    python = environment(monitoring_interpreter(), *NEWEST)
    with contextlib.closing(docker.from_env().api) as client:
        made_of = (PYTHON, python, client.inspect_image(base_image)["Id"])
        folder = tmp_path_factory.mktemp("python")
        build = functools.partial(build_python_image, base_image, python, folder)
        return kept_image(client, "covfleet-test-python", made_of, build)


def build_python_image(base_image: str, python: Path, folder: Path, image: str) -> None:
    ask = "import sys, coverage; print(sys.base_prefix); print(coverage.__path__[0])"
    said = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    prefix, packages = Path(said[0]), Path(said[1]).parent
    unused = shutil.ignore_patterns("test", "idlelib", "__pycache__", "site-packages", "*.a", "include")
    shutil.copytree(prefix, folder / "python", symlinks=True, ignore=unused)
    shutil.copytree(packages, folder / "packages")
    (folder / "Dockerfile").write_text(PYTHON)
    engine = DockerEngine()
    engine.build(BuildRequest(folder, folder / "Dockerfile", image, {}, {"BASE": base_image}), print)
    engine.close()


@pytest.fixture
def project(python_image: str, name: str, tmp_path: Path) -> Path:
    dockerfile = f"FROM {python_image}\nWORKDIR /app\nCOPY *.py ./\n"
    settings = f"""
        [tool.covfleet]
        executor = "docker"
        contexts = true
        branch_coverage = false
        shards = 1
        compare_cores = 100
        [tool.covfleet.image]
        repository = "{name}"
        dockerfile = "Dockerfile"
        python = "/opt/python/bin/python3"
    """
    return write_project(
        tmp_path / "project", {**FILES, "Dockerfile": dockerfile, "pyproject.toml": settings}
    )


def covfleet(project: Path, command: str, *arguments: str) -> str:
    """Run the command as its users do; return what it prints."""
    ran = subprocess.run(
        [sys.executable, "-m", "covfleet", command, f"--project={project}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_doctor_measures_the_cores_in_the_application_s_image(project: Path) -> None:
    document = json.loads(covfleet(project, "doctor", "--measure", "--seconds=5", "--json"))
    measured = document["measured"]
    assert [each["core"] for each in measured["cores"]] == ["none", "ctrace", "monitor"]
    assert measured["files_collected"] == 2
    assert measured["pairs"] > 5
    assert measured["missed"] == measured["only_ours"] == []


def test_batches_run_again_under_both_cores_in_containers(
    project: Path, client: docker.APIClient, name: str
) -> None:
    covfleet(project, "run", "--build", name)
    (path,) = project.glob(".covfleet/store/**/ledger.json")
    cores = from_json(Ledger, path.read_bytes(), name=str(path)).cores
    assert cores is not None
    assert (cores.batches, cores.missed, cores.only_ours, cores.failing, cores.failures) == (1, 0, 0, 0, ())
    assert not client.containers(all=True, filters={"label": f"covfleet.build={name}"})
