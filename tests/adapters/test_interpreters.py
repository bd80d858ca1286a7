"""Which interpreter is taken for the tests: folders and variables as users have them, in each combination."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from covfleet.adapters.processes.interpreters import Interpreter, Own, find_interpreter
from covfleet.adapters.processes.launchers import activated
from covfleet.errors import ConfigurationError
from covfleet.settings.schema import Settings

HERE = Path(sys.executable)


def environment(folder: Path, *lines: str) -> Path:
    """Make what looks like a virtual environment of the running interpreter, with no packages."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(HERE)
    (folder / "pyvenv.cfg").write_text("\n".join(["home = /usr/bin", *lines, ""]), "utf-8")
    return folder


def python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def program(folder: Path, name: str, script: str) -> str:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)
    return str(folder)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[project]\nname = 'x'\n", "utf-8")
    return folder


@pytest.fixture
def tool(tmp_path: Path) -> Own:
    """covfleet in an environment of its own, as uv and pipx make them."""
    folder = environment(tmp_path / "tool")
    return Own(python_of(folder), folder, has_pytest=False)


def found(project: Path, own: Own, python: str | None = None, **environ: str | Path) -> Interpreter:
    variables = {name: str(value) for name, value in environ.items()}
    return find_interpreter(Settings(python=python), project, {"PATH": "/nowhere", **variables}, own)


def test_without_any_the_error_lists_where_it_looked_and_how_to_answer(project: Path, tool: Own) -> None:
    with pytest.raises(ConfigurationError, match="which interpreter runs the tests") as caught:
        found(project, tool)
    said = str(caught.value)
    assert said.count("\n  - ") == 8
    for place in ("--python: not set", "VIRTUAL_ENV is not set", ".venv: not there", "has no pytest"):
        assert place in said
    assert "--python PATH_OR_COMMAND" in caught.value.hint
    assert "python3 -m venv .venv" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "text", "how"),
    [
        ("uv.lock", "version = 1\n", "uv sync"),
        ("poetry.lock", "", "poetry install"),
        ("pyproject.toml", "[tool.uv]\ndev-dependencies = []\n", "uv sync"),
        ("pyproject.toml", "[tool.poetry]\nname = 'x'\n", "poetry install"),
    ],
)
def test_without_any_the_hint_is_the_command_of_the_project_s_own_tool(
    project: Path, tool: Own, name: str, text: str, how: str
) -> None:
    (project / name).write_text(text, "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        found(project, tool)
    assert caught.value.hint.endswith(f"make an environment: {how}")


def test_covfleet_s_own_serves_only_where_pytest_is_beside_it(project: Path, tool: Own) -> None:
    own = Own(tool.executable, tool.prefix, has_pytest=True)
    assert found(project, own).path == tool.executable
    assert found(project, own, VIRTUAL_ENV=tool.prefix).path == tool.executable
    environment(project / ".venv")
    assert found(project, own).path == python_of(project / ".venv")


def test_the_order_is_from_what_was_said_most_plainly_to_what_was_said_least(
    project: Path, tool: Own, tmp_path: Path
) -> None:
    names = ("set", "active", "conda", "uv", "base")
    places = {name: environment(tmp_path / name) for name in names}
    poetry = environment(tmp_path / "poetry")
    commands = program(tmp_path / "commands", "poetry", f"echo {poetry}")
    (project / "poetry.lock").touch()
    environment(project / "venv")
    environment(project / ".venv")
    said: dict[str, str | Path] = {
        "VIRTUAL_ENV": places["active"],
        "CONDA_PREFIX": places["conda"],
        "UV_PROJECT_ENVIRONMENT": places["uv"],
        "PATH": commands,
    }
    assert found(project, tool, str(places["set"]), **said).path == python_of(places["set"])
    assert found(project, tool, **said).path == python_of(places["active"])
    del said["VIRTUAL_ENV"]
    assert found(project, tool, **said).path == python_of(places["conda"])
    said |= {"CONDA_PREFIX": places["base"], "CONDA_DEFAULT_ENV": "base"}
    assert found(project, tool, **said).path == python_of(places["uv"])
    del said["UV_PROJECT_ENVIRONMENT"]
    for name in (".venv", "venv"):
        assert found(project, tool, **said).path == python_of(project / name)
        (project / name).rename(tmp_path / f"was {name}")
    assert found(project, tool, **said).path == python_of(poetry)
    (project / "poetry.lock").unlink()
    assert found(project, tool, **said).path == python_of(places["base"])


def test_an_active_environment_that_hides_the_project_s_own_is_told(
    project: Path, tool: Own, tmp_path: Path
) -> None:
    own, active = environment(project / ".venv"), environment(tmp_path / "active")
    taken = found(project, tool, VIRTUAL_ENV=active)
    assert taken.path == python_of(active)
    assert "the project's .venv is not used" in str(taken)
    assert "--python .venv" in str(taken)
    assert found(project, tool, VIRTUAL_ENV=own).note == ""


def test_covfleet_s_own_environment_is_nobody_s_active_one(project: Path, tool: Own) -> None:
    environment(project / ".venv")
    assert found(project, tool, VIRTUAL_ENV=tool.prefix).path == python_of(project / ".venv")


def test_an_environment_laid_over_another_for_one_command_leads_to_that(
    project: Path, tmp_path: Path
) -> None:
    below = environment(project / ".venv")
    over = environment(tmp_path / "over", f"extends-environment = {below}")
    own = Own(python_of(over), over, has_pytest=True)
    assert found(project, own, VIRTUAL_ENV=over).path == python_of(below)
    assert found(project, own, VIRTUAL_ENV=over).note == ""
    alone = environment(tmp_path / "alone", "extends-environment = /usr")
    assert found(project, own, VIRTUAL_ENV=alone).why == "the project's .venv"


@pytest.mark.parametrize("name", [".venv", "venv", "VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT"])
def test_a_broken_environment_is_an_error_and_no_reason_to_take_another(
    project: Path, tool: Own, tmp_path: Path, name: str
) -> None:
    broken = project / name
    (broken / "bin").mkdir(parents=True)
    python_of(broken).symlink_to("/nowhere/python3.12")
    environ = {name: broken} if name.isupper() else {}
    if environ:
        environment(project / ".venv")
    with pytest.raises(ConfigurationError, match=r"is broken: .* leads to /nowhere/python3\.12, which"):
        found(project, tool, **environ)


def test_an_active_environment_that_was_removed_is_an_error(project: Path, tool: Own) -> None:
    environment(project / ".venv")
    with pytest.raises(ConfigurationError, match="the active virtual environment is broken"):
        found(project, tool, VIRTUAL_ENV=project / "removed")


@pytest.mark.parametrize(
    "named", [".venv", ".venv/bin/python", "{project}/.venv", "{project}/.venv/bin/python"]
)
def test_the_setting_names_a_folder_or_a_file_of_the_project(project: Path, tool: Own, named: str) -> None:
    environment(project / ".venv")
    taken = found(project, tool, named.format(project=project), VIRTUAL_ENV="/nowhere")
    assert taken.path == python_of(project / ".venv")


def test_a_command_is_followed_to_the_interpreter_that_it_starts_here(
    project: Path, tool: Own, tmp_path: Path
) -> None:
    commands = program(tmp_path / "shims", "python3.99", f'exec {HERE} "$@"')
    taken = found(project, tool, "python3.99", PATH=commands)
    assert taken == Interpreter(HERE, "set as `python` (python3.99)")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'shim: version 3.99 is not installed' >&2; exit 127", "shim: version 3.99 is not installed"),
        ("exit 0", "is no Python interpreter"),
    ],
)
def test_a_command_that_starts_no_interpreter_is_an_error_with_its_words(
    project: Path, tool: Own, tmp_path: Path, script: str, said: str
) -> None:
    commands = program(tmp_path / "shims", "python3.99", script)
    with pytest.raises(ConfigurationError, match=said):
        found(project, tool, "python3.99", PATH=commands)


@pytest.mark.parametrize("named", ["python3.99", "bin/python", "/nowhere/python"])
def test_a_name_of_nothing_is_an_error_that_says_what_may_be_named(
    project: Path, tool: Own, named: str
) -> None:
    environment(project / ".venv")
    with pytest.raises(ConfigurationError, match=f"no interpreter '{named}'") as caught:
        found(project, tool, named)
    assert "python3.12" in caught.value.hint


def test_a_member_of_a_uv_workspace_has_the_workspace_s_environment(project: Path, tool: Own) -> None:
    root = project.parent
    environment(root / ".venv")
    workspace = "[tool.uv.workspace]\nmembers = ['*']\nexclude = ['other*']\n"
    (root / "pyproject.toml").write_text(workspace, "utf-8")
    assert found(project, tool).path == python_of(root / ".venv")
    relative = environment(root / "elsewhere")
    assert found(project, tool, UV_PROJECT_ENVIRONMENT="elsewhere").path == python_of(relative)
    stranger = root / "other"
    stranger.mkdir()
    with pytest.raises(ConfigurationError, match="which interpreter"):
        found(stranger, tool)


@pytest.mark.parametrize(
    ("script", "said"),
    [(None, "there is no command poetry"), ("exit 1", "has `poetry install` been run")],
)
def test_a_poetry_that_names_none_is_told(
    project: Path, tool: Own, tmp_path: Path, script: str | None, said: str
) -> None:
    (project / "poetry.lock").touch()
    commands = program(tmp_path / "commands", "poetry", script) if script else "/nowhere"
    with pytest.raises(ConfigurationError, match=said):
        found(project, tool, PATH=commands)


def test_poetry_is_not_told_of_covfleet_s_own_environment(project: Path, tool: Own, tmp_path: Path) -> None:
    environment(tmp_path / "own")
    (project / "poetry.lock").touch()
    script = f'echo "${{VIRTUAL_ENV:-{tmp_path / "own"}}}"'
    commands = program(tmp_path / "commands", "poetry", script)
    taken = found(project, tool, PATH=commands, VIRTUAL_ENV=tool.prefix)
    assert taken.path == python_of(tmp_path / "own")


def test_tests_find_the_programs_of_their_interpreter_s_environment_and_none_of_covfleet_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "tool"))
    inside = environment(tmp_path / "inside")
    path = f"{tmp_path}/tool/bin:/usr/bin:{tmp_path}/inside/bin"
    given = activated(
        {"PATH": path, "VIRTUAL_ENV": "/other", "PYTHONHOME": "/x", "A": "b"}, python_of(inside)
    )
    assert given == {"PATH": f"{tmp_path}/inside/bin:/usr/bin", "VIRTUAL_ENV": str(inside), "A": "b"}
    outside = activated({"PATH": path, "VIRTUAL_ENV": "/other"}, Path("/usr/bin/python3"))
    assert outside == {"PATH": f"/usr/bin:{tmp_path}/inside/bin", "VIRTUAL_ENV": "/other"}
    hidden = activated({"PATH": path, "VIRTUAL_ENV": f"{tmp_path}/tool"}, Path("/usr/bin/python3"))
    assert "VIRTUAL_ENV" not in hidden
