"""Which interpreter runs the tests where covfleet has an environment of its own, and what if none does."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from support.installations import WAYS, Tools
from support.interpreters import interpreter
from support.needs import missing
from support.runs import write_project

FILES = {
    "pyproject.toml": '[tool.coverage.run]\nsource = ["app"]\n',
    "app.py": "def double(x):\n    return 2 * x\n",
    "test_app.py": "import app\n\n\ndef test_double():\n    assert app.double(2) == 4\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project", FILES)


def hint_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    (hint,) = (line for line in done.stderr.splitlines() if line.startswith("hint: "))
    return hint


def environment_used(project: Path) -> dict[str, str]:
    """Return what the newest plan says of the interpreter."""
    plans = project.glob(".covfleet/store/*/builds/*/plan.json")
    newest = max(plans, key=lambda path: path.stat().st_mtime)
    found: dict[str, str] = json.loads(newest.read_bytes())["environment"]
    return found


@pytest.mark.parametrize("way", ["uvx", "pipx install"])
def test_without_an_environment_the_user_is_asked_and_no_test_runs(
    tools: Tools, project: Path, way: str
) -> None:
    done = tools.run([*WAYS[way](tools), "run"], project)
    hint = hint_of(done)
    assert "which interpreter runs the tests" in done.stderr
    assert "has no pytest" in done.stderr
    assert "--python PATH_OR_COMMAND" in hint
    assert not list(project.glob(".covfleet/store/*/builds"))


@pytest.mark.slow
@pytest.mark.parametrize("made_by", ["uv", "venv"])
def test_the_command_in_the_hint_installs_what_is_missing_into_that_environment(
    tools: Tools, project: Path, made_by: str
) -> None:
    make = ["uv", "venv", "--quiet"] if made_by == "uv" else [str(tools.installed), "-m", "venv"]
    tools.get(*make, str(project / ".venv"))
    done = tools.run([*tools.script(), "run"], project)
    _, _, command = hint_of(done).partition("there: ")
    assert "has no coverage" in done.stderr
    tools.succeed(shlex.split(command), project)
    tools.succeed([*tools.script(), "run"], project)
    assert environment_used(project)["executable"] == ".venv/bin/python"


def test_coverage_without_pytest_is_an_error_that_names_the_interpreter(tools: Tools, project: Path) -> None:
    tools.environment(project / ".venv", "coverage")
    done = tools.run([*tools.script(), "run"], project)
    assert f"no pytest ({project}/.venv/bin/python, the project's .venv)" in done.stderr
    assert "pytest = false" in hint_of(done)


def test_the_active_environment_is_taken_and_what_it_hides_is_told(
    tools: Tools, project: Path, suite_python: Path
) -> None:
    tools.environment(project / ".venv")
    active = {"VIRTUAL_ENV": str(suite_python.parent.parent)}
    said = tools.succeed([*tools.uvx(), "run"], project, active)
    assert f"{suite_python}, the active virtual environment (the project's .venv is not used" in said
    assert environment_used(project)["executable"] == str(suite_python)


def test_uv_s_environment_is_found_where_uv_keeps_it(tools: Tools, project: Path) -> None:
    (project / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n'
        "[tool.uv]\npackage = false\n"
        '[dependency-groups]\ndev = ["pytest", "coverage"]\n',
        "utf-8",
    )
    place = {"UV_PROJECT_ENVIRONMENT": str(project.parent / "elsewhere")}
    assert hint_of(tools.run([*tools.script(), "run"], project, place)).endswith(": uv sync")
    tools.succeed(["uv", "sync", "--quiet", "--no-install-project"], project, place)
    tools.succeed([*tools.script(), "run"], project, place)
    assert environment_used(project)["prefix"] == place["UV_PROJECT_ENVIRONMENT"]


@pytest.mark.parametrize(
    ("place", "command"), [("flag", "run"), ("variable", "plan"), ("file", "run"), ("file", "doctor")]
)
def test_an_interpreter_that_is_not_there_ends_with_2_wherever_it_was_named(
    tools: Tools, project: Path, place: str, command: str
) -> None:
    tools.environment(project / ".venv")
    if place == "file":
        with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write('[tool.covfleet]\npython = "/no/python"\n')
    flags = ["--python", "/no/python"] if place == "flag" else []
    environ = {"COVFLEET_PYTHON": "/no/python"} if place == "variable" else {}
    done = tools.run([*tools.script(), command, *flags], project, environ)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "no interpreter '/no/python'" in done.stdout + done.stderr


def test_a_flag_s_path_is_relative_to_the_folder_where_it_is_given(
    tools: Tools, project: Path, suite_python: Path
) -> None:
    (project.parent / "beside").symlink_to(suite_python.parent.parent)
    here = [*tools.script(), "run", "--project", "project", "--python", "./beside"]
    tools.succeed(here, project.parent)
    assert environment_used(project)["executable"] == f"{project.parent}/beside/bin/python"


def test_an_interpreter_that_is_too_old_is_named(tools: Tools, project: Path) -> None:
    old = interpreter("3.6") or interpreter("2.7")
    if old is None:
        pytest.skip("the machine has no interpreter that is too old, and no index has one")
    done = tools.run([*tools.script(), "run", "--python", old], project)
    assert "is older than Python 3.9" in done.stderr
    assert "--python" in hint_of(done)


def test_doctor_says_which_interpreter_and_why(tools: Tools, project: Path, suite_python: Path) -> None:
    done = tools.run([*tools.script(), "doctor", "--json", "--python", str(suite_python)], project)
    assert done.returncode == 0, done.stderr
    (check,) = (each for each in json.loads(done.stdout)["checks"] if each["name"] == "project's Python")
    assert check["detail"].endswith(f"; {suite_python}, set as `python`")


def test_shards_run_the_interpreter_that_the_run_has_found(
    tools: Tools, project: Path, suite_python: Path
) -> None:
    """Here a .venv appears when the tests are collected; a shard that looked for itself would take that."""
    python = project / "venv" / "bin" / "python"
    (project / "venv").symlink_to(suite_python.parent.parent)
    test = f"def test_interpreter():\n    assert sys.executable == {str(python)!r}\n"
    (project / "test_app.py").write_text(
        f"import os, sys\n\nimport app\n\nos.makedirs('.venv/bin', exist_ok=True)\n\n\n{test}"
    )
    tools.succeed([*tools.script(), "run", "--shards", "1"], project)
    log = (project / ".covfleet" / "logs" / "shard-1.log").read_text("utf-8")
    assert f"tests run with {python}, set as `python`" in log


def test_another_interpreter_of_the_same_versions_on_a_shard_is_a_note_of_the_build(
    tools: Tools, project: Path, suite_python: Path
) -> None:
    (project.parent / "other").symlink_to(suite_python.parent.parent)
    covfleet, other = tools.script(), f"{project.parent}/other/bin/python"
    for arguments in (
        ("plan", "--shards", "1", "--python", str(suite_python)),
        ("shard", "1", "--python", other),
        ("combine",),
    ):
        tools.succeed([*covfleet, *arguments], project)
    (ledger,) = project.glob(".covfleet/store/*/builds/*/reports/ledger.json")
    (note,) = json.loads(ledger.read_bytes())["notes"]
    assert note.startswith(f"ran {other}")
    assert str(suite_python) in note


def test_another_version_on_a_shard_is_refused(tools: Tools, project: Path, suite_python: Path) -> None:
    other = next((found for each in ("3.13", "3.12", "3.10") if (found := interpreter(each))), None)
    if other is None:
        missing("a second Python", "install one beside the running interpreter, or on the PATH")
    python = project.parent / "other" / "bin" / "python"
    tools.get("uv", "venv", "--quiet", "--python", other, str(python.parent.parent))
    tools.get("uv", "pip", "install", "--quiet", "--python", str(python), "pytest", "coverage")
    tools.succeed([*tools.script(), "plan", "--python", str(suite_python)], project)
    done = tools.run([*tools.script(), "shard", "1", "--python", str(python)], project)
    assert "runs another Python than the build was planned with" in done.stderr
    assert "for the plan and for every shard" in hint_of(done)
