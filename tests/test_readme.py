"""README.md says what the program does, tests/README.md what is shown where: neither promises too much."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner
from covfleet import cli, errors

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_generated_parts_are_up_to_date():
    check = [sys.executable, "scripts/checks/readme.py", "--check"]
    ran = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"run scripts/readme:\n{ran.stdout}"


def test_every_flag_and_command_it_shows_exists():
    shown = re.findall(r"^covfleet ((?:jenkins )?\w+)(.*?)(?:#|$)", README, re.MULTILINE)
    shown += [
        ("recombine", rest) for rest in re.findall(r"^scripts/combine(.*?)(?:#|$)", README, re.MULTILINE)
    ]
    assert {command for command, _ in shown} >= {
        "run",
        "plan",
        "shard",
        "combine",
        "report",
        "gate",
        "publish",
        "builds",
        "recombine",
        "jenkins render",
        "jenkins apply",
    }
    for command, rest in shown:
        text = CliRunner().invoke(cli.app, [*command.split(), "--help"]).output
        for flag in re.findall(r"--[a-z-]+", rest):
            assert flag in text, (command, flag)


def test_every_exit_code_is_explained():
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    ours = {error.exit_code for error in vars(errors).values() if isinstance(error, type)}
    assert codes == ours | {0}


def test_every_path_it_names_is_there():
    for path in re.findall(r"`((?:\./)?(?:scripts|pipeline|tests|examples|docker|\.ci)/[\w./-]*)`", README):
        assert (ROOT / path).exists(), path


def test_every_test_that_the_table_of_faults_names_is_in_its_folder():
    table = (ROOT / "tests" / "README.md").read_text("utf-8")
    shown = re.findall(r"`(\w+)/`: ((?:`test_\w+`(?:, )?)+)", table)
    assert shown
    for folder, names in shown:
        code = "".join(path.read_text("utf-8") for path in (ROOT / "tests" / folder).glob("test_*.py"))
        for name in re.findall(r"\w+", names):
            assert f"def {name}(" in code, f"{folder}/ has no {name}"
