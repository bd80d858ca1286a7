"""The scripts' own set-up: what they say when they can't, and that they do nothing twice."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_VARIABLES = {"PATH": os.environ["PATH"]}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout under a name with a blank, whose environment seems to be installed."""
    folder = tmp_path / "a checkout"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    (folder / "pyproject.toml").write_text("[project]\n", "utf-8")
    (folder / "constraints.txt").write_text("click==8.3.0\n", "utf-8")
    return folder


def pretend_installed(checkout: Path) -> None:
    programs = checkout / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("covfleet", "ruff", "mypy", "pytest"):
        shows = f'#!/bin/sh\necho {name} "$@" all=$COVFLEET_TEST_ALL shards=$COVFLEET_SHARDS\n'
        (programs / name).write_text(shows, "utf-8")
        (programs / name).chmod(0o755)
    write_stamp(checkout, "test")


def write_stamp(checkout: Path, extras: str) -> None:
    described = (checkout / name for name in ("pyproject.toml", "constraints.txt"))
    stamp = "".join([*(path.read_text() for path in described), f"{checkout.resolve()}\n{extras}\n"])
    (checkout / ".venv" / ".covfleet-stamp").write_text(stamp, "utf-8")


def pretend_pip(checkout: Path) -> None:
    """Have the environment's interpreter pass for one whose pip installs at once, and write down what."""
    programs = checkout / ".venv" / "bin"
    (programs / "pip").write_text(f"#!{programs}/python\n", "utf-8")
    script = 'case "$*" in *" pip install "*) for word; do :; done; echo "$word" >>"$0.installed" ;; esac'
    (programs / "python").write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    (programs / "python").chmod(0o755)


def installed(checkout: Path) -> list[str]:
    """Return what pip was asked for, each time, since the last call; of our path only what follows it."""
    log = checkout / ".venv" / "bin" / "python.installed"
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return [line.removeprefix(str(checkout)) for line in lines]


def run(checkout: Path, script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", checkout / "scripts" / script, *arguments],
        cwd="/",
        env=NO_VARIABLES | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def programs_without_python(folder: Path) -> str:
    folder.mkdir()
    for name in ("bash", "dirname", "cat", "cmp", "head", "grep"):
        (folder / name).symlink_to(shutil.which(name) or "")
    return str(folder)


def test_without_a_python_the_scripts_say_how_to_get_one(checkout: Path, tmp_path: Path) -> None:
    for script in ("env", "demo", "test"):
        done = run(checkout, script, PATH=programs_without_python(tmp_path / script))
        assert done.returncode == 2, done.stderr
        assert "no Python 3.11 or newer" in done.stderr
        assert "hint:" in done.stderr


def test_an_environment_that_cannot_be_installed_is_an_error_with_the_log(checkout: Path) -> None:
    (checkout / "pyproject.toml").write_text("this is not TOML\n", "utf-8")
    done = run(checkout, "test")
    assert done.returncode == 1
    assert "pip could not install covfleet" in done.stderr
    assert str(checkout / ".venv" / "install.log") in done.stderr
    assert not (checkout / ".venv" / ".covfleet-stamp").exists()


def test_what_is_installed_is_not_installed_again(checkout: Path) -> None:
    pretend_installed(checkout)
    done = run(checkout, "env")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("constraints", [None, ""])
def test_releases_are_those_of_the_constraints_or_the_newest(
    checkout: Path, tmp_path: Path, constraints: str | None
) -> None:
    pretend_installed(checkout)
    (checkout / "constraints.txt").write_text("click==8.3.1\n", "utf-8")
    python = checkout / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *pip*) echo "$@" >{tmp_path}/pip ;; esac\n', "utf-8")
    python.chmod(0o755)
    (python.parent / "pip").write_text(f"#!{python}\n", "utf-8")
    chosen = {} if constraints is None else {"COVFLEET_CONSTRAINTS": constraints}
    assert run(checkout, "env", **chosen).returncode == 0
    asked = (tmp_path / "pip").read_text()
    if constraints is None:
        assert f"--constraint {checkout.resolve()}/constraints.txt --editable" in asked
    else:
        assert "--upgrade --upgrade-strategy eager --editable" in asked
        assert "--constraint" not in asked
    (tmp_path / "pip").unlink()
    run(checkout, "env", **chosen)
    assert not (tmp_path / "pip").exists()


def test_the_demo_installs_no_test_tools_and_what_was_installed_stays(checkout: Path) -> None:
    pretend_installed(checkout)
    pretend_pip(checkout)
    write_stamp(checkout, "")
    for script, wanted in (
        ("demo", ["[demo]"]),
        ("demo", []),
        ("test", ["[test]"]),
        ("demo", []),
        ("test", []),
    ):
        done = run(checkout, script)
        assert done.returncode == 0, done.stderr
        assert installed(checkout) == wanted, script
    (checkout / "pyproject.toml").write_text("[project]\nname = 'changed'\n", "utf-8")
    run(checkout, "demo")
    assert installed(checkout) == ["[test]"]  # or the tools would be those of the old file


@pytest.mark.parametrize(
    ("there", "wanted", "installs"),
    [
        ("", "", []),
        ("", "jenkins", ["[jenkins]"]),
        ("demo", "jenkins", ["[demo,jenkins]"]),
        ("demo,jenkins", "demo", []),
        ("demo,jenkins", "", []),
        ("demo,jenkins", "test", ["[test]"]),
        ("test", "", []),
        ("/written by an earlier version", "", [""]),
    ],
)
def test_extras_are_added_to_those_that_are_there(
    checkout: Path, there: str, wanted: str, installs: list[str]
) -> None:
    pretend_installed(checkout)
    pretend_pip(checkout)
    write_stamp(checkout, there)
    assert run(checkout, "env", wanted).returncode == 0
    assert installed(checkout) == installs
    assert run(checkout, "env", wanted).returncode == 0
    assert installed(checkout) == []


def test_an_installation_that_fails_is_tried_again(checkout: Path) -> None:
    pretend_installed(checkout)
    pretend_pip(checkout)
    write_stamp(checkout, "demo")
    python = checkout / ".venv" / "bin" / "python"
    works = python.read_text("utf-8")
    python.write_text(works + 'case "$*" in *" pip "*) exit 1 ;; esac\n', "utf-8")
    assert run(checkout, "env", "test").returncode == 1
    python.write_text(works, "utf-8")
    assert installed(checkout) == ["[test]"]
    assert run(checkout, "env", "test").returncode == 0
    assert installed(checkout) == ["[test]"]


def test_the_tests_run_after_the_checks_and_all_means_that_nothing_is_skipped(checkout: Path) -> None:
    pretend_installed(checkout)
    lines = run(checkout, "test", "--all", "-k", "a b").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ruff", "ruff", "mypy", "pytest"]
    assert lines[-1].startswith("pytest -ra -n auto --dist worksteal -k a b all=1")
    assert "all=1" not in run(checkout, "test").stdout


def test_the_demo_takes_the_sample_or_any_project_and_passes_flags_on(checkout: Path) -> None:
    pretend_installed(checkout)
    sample = run(checkout, "demo", "--contexts").stdout
    assert f"covfleet run --project {checkout}/examples/trading --contexts all= shards=6" in sample
    other = run(checkout, "demo", "/srv/app", "--shards", "2").stdout
    assert "covfleet run --project /srv/app --shards 2" in other


def test_the_sample_runs_in_covfleet_s_environment_and_other_projects_in_their_own(checkout: Path) -> None:
    pretend_installed(checkout)
    program = checkout / ".venv" / "bin" / "covfleet"
    program.write_text('#!/bin/sh\necho "python=$COVFLEET_PYTHON active=$VIRTUAL_ENV"\n', "utf-8")
    sample = run(checkout, "demo", VIRTUAL_ENV="/srv/active").stdout
    assert sample == f"python={checkout}/.venv/bin/python active=/srv/active\n"
    assert run(checkout, "demo", COVFLEET_PYTHON="python3").stdout == "python=python3 active=\n"
    other = run(checkout, "demo", "/srv/app", VIRTUAL_ENV="/srv/active").stdout
    assert other == "python= active=/srv/active\n"
