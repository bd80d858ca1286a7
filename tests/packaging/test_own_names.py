"""A project whose packages are called as ours, or as our libraries, runs right, however covfleet came."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from support.installations import WAYS, Tools
from support.runs import write_project

LIBRARIES = (
    "boto3",
    "click",
    "docker",
    "jenkins",
    "pydantic",
    "requests",
    "rich",
    "yaml",
)  # "packaging" stops uv
NAMES = ("pipeline", "covfleet_worker", "templates", "scripts", *LIBRARIES)

OWN = "WHOSE = 'the project'\n\n\ndef answer():\n    return 42\n"
TEST = f"""\
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", {NAMES!r})
def test_a_package_of_that_name_is_the_project_s(name):
    module = importlib.import_module(name)
    assert module.WHOSE == "the project"
    assert module.answer() == 42
    assert module.__file__.startswith(os.getcwd())


@pytest.mark.parametrize("name", ["covfleet", "jinja2", "botocore", "pydantic_settings"])
def test_nothing_that_covfleet_brings_can_be_imported(name):
    assert importlib.util.find_spec(name) is None


def test_programs_are_those_of_the_project_s_environment():
    assert sys.prefix == os.environ["VIRTUAL_ENV"] == os.path.join(os.getcwd(), ".venv")
    assert shutil.which("python") == sys.executable
    assert shutil.which("coverage") == os.path.join(sys.prefix, "bin", "coverage")
    said = subprocess.run(["python", "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True)
    assert said.stdout.strip() == sys.prefix


def test_pythonpath_is_what_the_caller_set():
    assert os.environ.get("PYTHONPATH") == os.environ.get("EXPECTED")
"""


@pytest.fixture(scope="module")
def project(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with an environment of its own, in which everything bears a name of ours."""
    folder = tmp_path_factory.mktemp("project")
    files = {
        "pyproject.toml": f"[tool.coverage.run]\nbranch = true\nsource = {list(NAMES)}\n",
        "test_names.py": TEST,
        "templates/report/summary.md.j2": "{{ this is no template",
        "docker/app.Dockerfile": "FROM nowhere\n",
        **{f"{name}/__init__.py": OWN for name in NAMES},
    }
    write_project(folder, files)
    tools.environment(folder / ".venv", "pytest", "coverage")
    return folder


def run(tools: Tools, project: Path, command: list[str], **environ: str) -> dict[str, object]:
    """Run the project's tests; return what covfleet says of them."""
    done = tools.run([*command, "run", "--json"], project, environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"tests run with {project}/.venv/bin/python, the project's .venv\n" in done.stderr
    said: dict[str, object] = json.loads(done.stdout)
    return said


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_project_with_our_names_on_its_path_runs_right(tools: Tools, project: Path, way: str) -> None:
    path = str(project)
    expected = {} if way == "pipx run" else {"EXPECTED": path}  # which passes everything on but PYTHONPATH
    said = run(tools, project, WAYS[way](tools), PYTHONPATH=path, **expected)
    assert said["verdict"] == "complete"
    assert said["outcomes"] == {"passed": 18}
    assert said["line_percent"] == "100.00"
    (plan,) = (
        json.loads(path.read_bytes())
        for path in project.glob(f".covfleet/store/*/builds/{said['build']}/plan.json")
    )
    assert plan["environment"]["executable"] == ".venv/bin/python"
    assert plan["environment"]["prefix"] == ".venv"
    summary = (project / ".covfleet" / "reports" / "summary.md").read_text("utf-8")
    assert summary.startswith("## Coverage 100.00%")


def test_what_lies_in_the_folder_stands_in_for_none_of_covfleet_s_libraries(
    tools: Tools, project: Path
) -> None:
    """``python -m`` has the project's folder on its path without anybody's doing."""
    assert run(tools, project, tools.module())["verdict"] == "complete"


def test_the_wheel_holds_our_two_packages_and_nothing_beside_them(tools: Tools) -> None:
    with zipfile.ZipFile(tools.wheel) as wheel:
        names = wheel.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "covfleet",
        "covfleet_worker",
    }
    for needed in ("_data/templates/jenkins/Jenkinsfile.j2", "_data/docker/app.Dockerfile", "__main__.py"):
        assert f"covfleet/{needed}" in names


@pytest.mark.parametrize("name", ["pipeline", "tests", "scripts", "templates", "docker.app", "support"])
def test_installed_there_is_no_package_of_a_name_that_users_have(tools: Tools, name: str) -> None:
    program = f"import importlib.util; print(importlib.util.find_spec({name!r}))"
    done = tools.run([str(tools.installed), "-I", "-c", program], tools.folder)
    assert done.stdout == "None\n", done.stderr


def test_covfleet_s_own_libraries_come_before_the_project_s_and_nothing_is_hidden() -> None:
    from covfleet.__main__ import own_first

    assert own_first(["/here", "/lib", "/site"], "", "/here") == ["/lib", "/site", "/here"]
    assert own_first(["", "/src", "/lib", "/src/a"], "/src:./a/..:", "/src") == ["/lib", "/src/a", "", "/src"]
    assert own_first(["/lib", "/site"], "/other", "/here") == ["/lib", "/site"]
