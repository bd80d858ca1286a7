"""What isn't installed by default: the command that needs it says so, and how to add it."""

from __future__ import annotations

import shlex
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.installations import WAYS, Tools
from support.runs import write_project

JENKINS = '[tool.covfleet.jenkins]\nrepository = "https://example.org/app.git"\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project", {"pyproject.toml": JENKINS})


def test_job_builder_and_the_old_setuptools_come_with_the_extra_alone() -> None:
    wanted = [Requirement(each) for each in requires("covfleet") or ()]
    plain = {each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})}
    assert {"boto3", "click", "coverage", "docker", "jinja2", "python-jenkins"} <= plain
    assert not {"jenkins-job-builder", "setuptools", "pytest", "mypy", "uv"} & plain
    extra = {
        each.name for each in wanted if each.marker and each.marker.evaluate({"extra": "jenkins"})
    } - plain
    assert extra == {"jenkins-job-builder", "setuptools"}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["wheel", "uvx", "uv tool", "pipx run", "pipx install"])
def test_a_command_that_needs_the_extra_says_how_to_get_it_and_that_is_true(
    tools: Tools, project: Path, way: str
) -> None:
    covfleet = WAYS[way](tools)
    refused = tools.run([*covfleet, "jenkins", "render"], project)
    assert refused.returncode == 2, refused.stderr
    assert "the extra covfleet[jenkins]" in refused.stderr
    _, _, hint = refused.stderr.strip().rpartition("With it: ")
    command = shlex.split(hint)
    if way in ("uvx", "pipx run"):
        covfleet = command
    else:
        tools.succeed(command, project)
    tools.succeed([*covfleet, "jenkins", "render"], project)
    assert (project / "jenkins" / "jobs.yaml").is_file()


def test_jobs_that_are_not_rendered_need_no_extra(tools: Tools, project: Path) -> None:
    (project / "pyproject.toml").write_text("", "utf-8")
    tools.succeed([*tools.uvx(), "jenkins", "render"], project)
    assert (project / "Jenkinsfile").is_file()
