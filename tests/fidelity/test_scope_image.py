"""What is measured in an image is the project, wherever the image has it: built and run for real."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from support import oracle
from support.oracle import PYTEST, SHOP, Figures, covfleet

pytestmark = [pytest.mark.docker, pytest.mark.slow]

VERSION = "def used():\n    return 1\n\n\ndef unused():\n    return 2\n"
USES_VERSION = "from shop._version import used\n\n\ndef test_version():\n    assert used() == 1\n"


def run_in_image(
    project: Path, applications: str, *steps: str, python: str = "/opt/whole/bin/python", **more: str
) -> CompletedProcess[str]:
    """Build the project's image by these steps, and run it in two containers."""
    lines = [f"FROM {applications}", "WORKDIR /app", *steps]
    (project / "Dockerfile").write_text("\n".join([*lines, ""]))
    settings = {
        "COVFLEET_EXECUTOR": "docker",
        "COVFLEET_IMAGE__DOCKERFILE": "Dockerfile",
        "COVFLEET_IMAGE__PYTHON": python,
        "COVFLEET_IMAGE__REPOSITORY": "covfleet-test-scope",
        **more,
    }
    return covfleet(project, "run", "--shards", "2", **settings)


def test_a_file_that_only_the_image_has_is_in_the_figure(tmp_path: Path, applications: str) -> None:
    settings = f'{PYTEST}[tool.coverage.run]\nsource = ["shop"]'
    project = oracle.app(tmp_path / "app", settings, {"tests/test_v.py": USES_VERSION})
    (tmp_path / "app" / "made.py").write_text(VERSION)
    done = run_in_image(project, applications, "COPY . .", "RUN mv made.py shop/_version.py")
    assert done.returncode == 0, done.stderr
    assert "coverage.py measures: shop/_version.py" in done.stderr
    files = Figures.read(oracle.reports(project) / "coverage.json").files
    assert files == {"shop/__init__.py": ((1, 2, 4), (3,)), "shop/_version.py": ((1, 2, 5), (6,))}


def test_an_application_elsewhere_in_the_image_is_a_conflict_until_it_is_mapped(
    tmp_path: Path, applications: str
) -> None:
    settings = PYTEST.replace('["."]', '["/srv/app"]') + '[tool.coverage.run]\nsource = ["shop", "tests"]\n'
    files = {"shop/__init__.py": "", "src/shop/__init__.py": SHOP}
    project = oracle.app(tmp_path / "app", settings, files)
    steps = ("COPY src /srv/app", "COPY tests tests", "COPY pyproject.toml .")
    done = run_in_image(project, applications, *steps)
    assert done.returncode == 5
    rule = '[tool.coverage.paths]\nsrc = ["src", "/srv/app"]\n'
    assert rule in done.stderr
    with (project / "pyproject.toml").open("a") as file:
        file.write(f"\n{rule}")
    done = run_in_image(project, applications, *steps)
    assert done.returncode == 0, done.stderr
    figures = Figures.read(oracle.reports(project) / "coverage.json").files
    assert figures["src/shop/__init__.py"] == ((1, 2, 4), (3,))


def test_a_stale_copy_in_the_image_is_a_conflict(tmp_path: Path, applications: str) -> None:
    project = oracle.app(tmp_path / "app", f'{PYTEST}[tool.coverage.run]\nsource = ["shop"]')
    done = run_in_image(project, applications, "COPY . .", "RUN sed -i '1i import os' shop/__init__.py")
    assert done.returncode == 5
    assert "conflict: shop/__init__.py: ran with another content than was planned" in done.stderr


CLOSED = ("COPY . .", "RUN cp -a /opt/whole /root/whole && chmod 700 /root")
IN_ROOT = "ENV PATH=/root/whole/bin:/opt/bare/bin:$PATH"
LINKED = (
    "RUN mkdir -p /opt/link && ln -s /root/whole/bin/python /opt/link/python",
    "ENV PATH=/opt/link:/opt/bare/bin:$PATH",
)


@pytest.mark.parametrize("steps", [(IN_ROOT,), LINKED])
def test_an_interpreter_that_the_container_s_user_cannot_reach_is_no_other_one(
    tmp_path: Path, applications: str, steps: tuple[str, ...]
) -> None:
    project = oracle.app(tmp_path / "app", f'{PYTEST}[tool.coverage.run]\nsource = ["shop"]')
    user = {"COVFLEET_CONTAINER__USER": "1234:1234"}
    done = run_in_image(project, applications, *CLOSED, *steps, python="python", **user)
    assert done.returncode == 2, done.stderr
    assert "the container's user 1234:1234 may not enter /root" in done.stderr
    assert "`user` in [tool.covfleet.container]" in done.stderr


def test_the_image_s_own_interpreter_runs_the_tests(tmp_path: Path, applications: str) -> None:
    project = oracle.app(tmp_path / "app", f'{PYTEST}[tool.coverage.run]\nsource = ["shop"]')
    steps = ("COPY . .", "ENV PATH=/opt/whole/bin:/opt/bare/bin:$PATH")
    done = run_in_image(project, applications, *steps, python="python")
    assert done.returncode == 0, done.stderr
    plan = next((project / ".covfleet" / "store").rglob("plan.json"))
    assert json.loads(plan.read_text())["environment"]["executable"] == "/opt/whole/bin/python"
