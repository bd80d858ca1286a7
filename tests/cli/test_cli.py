"""The command line as a user meets it: exit codes, messages, help; through real processes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from covfleet import cli
from support.processes import covfleet, without_settings

COMMANDS = ("run", "image", "plan", "shard", "combine", "report", "gate", "publish", "doctor")
COMMANDS += ("builds", "recombine", "fetch")
ENVIRON = without_settings()

PROJECT = {
    "pyproject.toml": '[tool.coverage.run]\nbranch = true\nsource = ["app"]\n',
    "app.py": "def double(x):\n    if x:\n        return 2 * x\n    return 0\n",
    "test_app.py": "import app\n\n\ndef test_double():\n    assert app.double(2) == 4\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    for name, content in PROJECT.items():
        (folder / name).write_text(content, "utf-8")
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("frob",), "No such command 'frob'"),
        (("combin",), "Perhaps you meant combine"),
        (("shard", "none"), "'none' is not a valid integer"),
        (("shard",), "Missing argument 'K'"),
        (("plan", "--project", "absent"), "absent"),
        (("gate", "--frob"), "--frob"),
        (("publish",), "there is no site to publish to"),
        (("shard", "1"), "has no build"),
        (("shard", "1", "--build", "absent"), "has no build absent"),
        (("combine", "--commit", "../x"), "isn't a valid commit"),
        (("combine", "--patience", "5"), "Add --follow, or leave out --patience"),
        (("plan", "--build", "a/b"), "isn't a valid build id"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(
    project: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = covfleet(project, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("covfleet: error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_all_faults_of_flags_variables_and_file_are_reported_together(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.covfleet]\nshard = 3\n", "utf-8")
    done = covfleet(project, "plan", "--executor", "dockr", COVFLEET_PROCS="none")
    assert done.returncode == 2
    for fault in (
        "pyproject.toml: shard",
        "perhaps you meant shards",
        "--executor",
        "'dockr'",
        "COVFLEET_PROCS",
    ):
        assert fault in done.stderr


def test_a_project_without_tests_is_told_where_to_name_them(project: Path) -> None:
    (project / "test_app.py").unlink()
    done = covfleet(project, "plan")
    assert done.returncode == 2
    assert "pytest collected no tests" in done.stderr
    assert "hint: " in done.stderr


def test_a_run_that_measured_nothing_ends_with_5(project: Path) -> None:
    (project / "pyproject.toml").write_text('[tool.coverage.run]\nsource = ["nothing_here"]\n', "utf-8")
    done = covfleet(project, "run")
    assert done.returncode == 5, done.stderr
    assert "contains no file to report" in done.stderr


def test_an_engine_that_does_not_answer_ends_with_6(project: Path) -> None:
    done = covfleet(project, "image", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert done.returncode == 6, done.stderr
    assert done.stderr.startswith("covfleet: error: ")


@pytest.mark.parametrize("verbose", [False, True])
def test_an_unexpected_error_shows_its_traceback_only_when_asked(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verbose: bool
) -> None:
    def broken(_self: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("covfleet.commands.common.session.Session.known_build", broken)
    status = cli.status(["gate", "--project", str(project), *(["-v"] if verbose else [])])
    shown = capsys.readouterr().err
    assert status == 1
    assert "covfleet: error: ZeroDivisionError: oops" in shown
    assert ("Traceback" in shown) is verbose
    assert ("again with -v" in shown) is not verbose


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_130_and_leaves_no_process(project: Path, number: signal.Signals) -> None:
    started = project.parent / "started"
    (project / "test_app.py").write_text(
        "import time, pathlib\n\n\ndef test_long():\n"
        f"    pathlib.Path({str(started)!r}).touch()\n    time.sleep(60)\n",
        "utf-8",
    )
    command = [sys.executable, "-P", "-m", "covfleet", "run", "--shards", "1"]
    run = subprocess.Popen(command, cwd=project, env=ENVIRON, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not started.exists():
        assert run.poll() is None and time.monotonic() < deadline, run.communicate()
        time.sleep(0.05)
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert "resume with: covfleet run --build " in said
    processes = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    assert str(project) not in processes
    assert not (project / ".covfleet" / "work").exists()


def test_nobody_reading_the_output_is_no_traceback(project: Path) -> None:
    command = f"{sys.executable} -P -m covfleet doctor --json | true"
    done = subprocess.run(
        command, shell=True, cwd=project, env=ENVIRON, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_by_examples(command: str) -> None:
    shown = CliRunner().invoke(cli.app, [command, "--help"], prog_name="covfleet").output
    examples = re.findall(rf"^ +\$ (?:[A-Z_]+=\S+ )?covfleet {command}\b.*\n +\S", shown, re.MULTILINE)
    assert len(examples) >= 2, shown
    assert "--store URL" in shown
    assert "[COVFLEET_STORE]" in shown


def test_every_flag_that_is_a_setting_names_the_variable_that_exists() -> None:
    from covfleet.settings.load import _keys, variable
    from covfleet.settings.schema import Settings

    known = {variable(key) for key in _keys(Settings)}
    for command in COMMANDS:
        shown = CliRunner().invoke(cli.app, [command, "--help"]).output
        assert set(re.findall(r"\[(COVFLEET_\w+)\]", shown)) <= known


def test_the_help_lists_every_command_and_exit_code() -> None:
    shown = CliRunner().invoke(cli.app, ["--help"]).output
    for command in COMMANDS:
        assert f"  {command} " in shown
    for code in (0, 1, 2, 3, 4, 5, 6, 130):
        assert re.search(rf"\b{code} [a-zD]", shown)


def test_help_and_shards_wait_for_no_heavy_library(project: Path) -> None:
    program = (
        "import sys; from covfleet import cli; cli.status(sys.argv[1:]); "
        "print(sorted({'boto3', 'docker', 'rich', 'jinja2', 'requests'} & set(sys.modules)))"
    )
    for arguments in (("--help",), ("shard", "1")):
        command = [sys.executable, "-P", "-c", program, *arguments]
        done = subprocess.run(command, cwd=project, env=ENVIRON, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]", arguments


def test_the_version_is_the_distributions() -> None:
    assert re.fullmatch(
        r"covfleet \d+\.\d+\.\d+\n", CliRunner().invoke(cli.app, ["--version"], prog_name="covfleet").output
    )


def test_every_stage_by_hand_gives_what_run_gives(project: Path) -> None:
    planned = json.loads(covfleet(project, "plan", "--json", "--shards", "2").stdout)
    assert planned["version"] == 2
    assert [batch["tests"] for batch in planned["batches"]] == [["test_app.py::test_double"]]
    for shard in ("1", "2"):
        assert covfleet(project, "shard", shard).returncode == 0
    ledger = json.loads(covfleet(project, "combine", "--json").stdout)
    assert (ledger["verdict"], ledger["build"]) == ("complete", planned["build"])
    by_hand = json.loads(covfleet(project, "report", "--json").stdout)
    assert by_hand["verdict"] == "complete"
    run = json.loads(covfleet(project, "run", "--json", "--shards", "2").stdout)
    assert run["totals"] == by_hand["totals"]
    assert run["build"] != by_hand["build"]
    assert (project / ".covfleet" / ".coverage").is_file()
    assert (project / ".covfleet" / "reports" / "html" / "index.html").is_file()


def test_the_folder_hides_itself_from_git_and_from_the_next_commit_name(project: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    assert covfleet(project, "doctor").returncode == 0
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=project, check=True, capture_output=True, text=True
    )
    assert ".covfleet" not in status.stdout


def test_failed_tests_end_with_3_and_a_missed_threshold_with_4(project: Path) -> None:
    below = covfleet(project, "run", "--gate-total", "99")
    assert below.returncode == 4, below.stderr
    assert "below the gate" in below.stderr
    (project / "test_app.py").write_text(
        "import app\n\n\ndef test_wrong():\n    assert app.double(2) == 5\n", "utf-8"
    )
    failed = covfleet(project, "run", "--gate-total", "99")
    assert failed.returncode == 3, failed.stderr


def test_a_dry_run_stores_nothing(project: Path) -> None:
    done = covfleet(project, "run", "--dry-run")
    assert done.returncode == 0
    assert "1 in 1 batch" in done.stdout
    assert not list(project.glob(".covfleet/store/*/builds"))


def test_doctor_describes_itself_for_programs(project: Path) -> None:
    done = covfleet(project, "doctor", "--json")
    described = json.loads(done.stdout)
    assert described["version"] == 1
    assert {check["status"] for check in described["checks"]} <= {"ok", "warn", "fail"}


def test_doctor_says_which_setting_to_correct(project: Path) -> None:
    done = covfleet(project, "doctor", COVFLEET_PYTHON="no-such-python")
    assert done.returncode == 2
    assert "✗" in done.stdout
    assert "no-such-python" in done.stdout
    assert "→" in done.stdout
