"""``covfleet jenkins render``: the same bytes everywhere, own templates, drift, and other people's files."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from covfleet import cli
from covfleet.errors import ConfigurationError
from covfleet.jenkins.render import drifts, jenkinsfile, render
from covfleet.settings.schema import Settings
from support.jenkinsfiles import groovy_environment

FILES = ("Jenkinsfile", "jenkins/jobs.yaml", "jenkins/cloud.yaml")


def run(project: Path, *flags: str) -> tuple[int, str, str]:
    """Return exit status, output and errors of ``covfleet jenkins render``."""
    runner = CliRunner()
    with runner.isolation() as (out, err, _):
        status = cli.status(["jenkins", "render", "--project", str(project), *flags])
        return status, out.getvalue().decode(), err.getvalue().decode()


def contents(project: Path) -> dict[str, bytes]:
    return {name: (project / name).read_bytes() for name in FILES if (project / name).exists()}


def test_every_file_is_written_and_says_where_it_comes_from(project: Path) -> None:
    status, out, _ = run(project)
    assert status == 0
    assert out.splitlines() == [f"{name}: written" for name in FILES]
    for name, content in contents(project).items():
        head = content.decode().splitlines()[:5]
        assert any(
            f"`covfleet jenkins render` from covfleet's templates/jenkins/{Path(name).name}.j2" in line
            for line in head
        )
        assert content.endswith(b"\n")
        assert b"\r" not in content
        content.decode("ascii")
    assert not list(project.rglob("*.part"))


def test_a_second_time_nothing_is_written(project: Path) -> None:
    run(project)
    before = {name: (project / name).stat().st_mtime_ns for name in FILES}
    status, out, _ = run(project)
    assert status == 0
    assert out.splitlines() == [f"{name}: up to date" for name in FILES]
    assert {name: (project / name).stat().st_mtime_ns for name in FILES} == before


@pytest.mark.parametrize(
    "variables", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_the_bytes_are_the_same_in_every_locale_and_whatever_the_hash_seed(
    project: Path, variables: dict[str, str]
) -> None:
    run(project)
    expected = contents(project)
    for name in FILES:
        (project / name).unlink()
    environ = {**os.environ, **variables, "PYTHONHASHSEED": "4711", "TZ": "Pacific/Auckland"}
    command = [sys.executable, "-m", "covfleet", "jenkins", "render", "--project", str(project)]
    subprocess.run(command, env=environ, check=True, capture_output=True, timeout=60)
    assert contents(project) == expected


def test_settings_of_job_builder_on_the_machine_change_nothing(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(project)
    expected = contents(project)
    config = tmp_path / ".config" / "jenkins_jobs"
    config.mkdir(parents=True)
    (config / "jenkins_jobs.ini").write_text("[job_builder]\nallow_empty_variables=True\nnonsense")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(project, "--check")[0] == 0
    assert contents(project) == expected


def test_the_jenkinsfile_has_the_same_size_for_6_and_for_200_shards(project: Path, load) -> None:
    six, many = (render(load(shards=n), project)[0].text for n in (6, 200))
    assert six != many
    assert six.replace("'6'", "'200'") == many
    assert abs(len(six) - len(many)) < 5


@pytest.mark.parametrize("name", FILES)
def test_drift_ends_with_2_and_shows_the_difference(project: Path, name: str) -> None:
    run(project)
    path = project / name
    path.write_text(path.read_text().replace("covfleet-shard", "other-label"))
    status, out, err = run(project, "--check")
    assert status == 2
    assert f"--- {name}\n+++ {name}\n@@" in out
    assert re.search(r"^-.*other-label", out, re.MULTILINE)
    assert re.search(r"^\+.*covfleet-shard", out, re.MULTILINE)
    assert f"out of date: {name}" in err
    assert "covfleet jenkins render" in err
    assert "other-label" in path.read_text(), "--check writes nothing"


def test_a_missing_file_is_drift(project: Path) -> None:
    run(project)
    (project / FILES[1]).unlink()
    status, out, _ = run(project, "--check")
    assert status == 2
    assert f"--- /dev/null\n+++ {FILES[1]}\n" in out


def test_only_a_missing_last_line_end_is_drift_and_shown(project: Path) -> None:
    run(project)
    path = project / "Jenkinsfile"
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    status, out, _ = run(project, "--check")
    assert status == 2
    assert "\\ No newline at end of file" in out


def test_other_line_ends_and_other_encodings_are_drift(project: Path) -> None:
    run(project)
    for change in (lambda b: b.replace(b"\n", b"\r\n"), lambda b: b + b"\xff\xfe"):
        before = (project / "Jenkinsfile").read_bytes()
        (project / "Jenkinsfile").write_bytes(change(before))
        assert run(project, "--check")[0] == 2
        (project / "Jenkinsfile").write_bytes(before)


def test_a_changed_setting_is_drift_until_it_is_rendered(project: Path) -> None:
    run(project)
    settings = project / "pyproject.toml"
    settings.write_text(settings.read_text().replace("shards = 3", "shards = 8"))
    status, out, _ = run(project, "--check")
    assert status == 2
    assert "+            defaultValue: '8'," in out
    run(project)
    assert run(project, "--check")[:2] == (0, "")


def test_a_file_that_covfleet_did_not_generate_is_never_replaced_unasked(project: Path) -> None:
    (project / "Jenkinsfile").write_text("pipeline { /* by hand */ }\n")
    status, _, err = run(project)
    assert status == 2
    assert "won't replace them: Jenkinsfile" in err
    assert "--force" in err
    assert contents(project) == {"Jenkinsfile": b"pipeline { /* by hand */ }\n"}, "nothing at all is written"
    assert run(project, "--force")[0] == 0
    assert set(contents(project)) == set(FILES)


@pytest.mark.parametrize(
    ("name", "there"), [("Jenkinsfile", "Jenkinsfile/x"), ("jenkins/jobs.yaml", "jenkins")]
)
def test_a_folder_or_file_in_the_way_is_named(project: Path, name: str, there: str) -> None:
    (project / there).parent.mkdir(exist_ok=True)
    (project / there).write_text("")
    status, _, err = run(project)
    assert status == 2
    assert f"can't read {project / name}: " in err


def test_what_is_no_longer_set_is_removed_and_other_peoples_files_stay(project: Path) -> None:
    run(project)
    settings = project / "pyproject.toml"
    settings.write_text(settings.read_text().partition("[tool.covfleet.jenkins]")[0])
    (project / "jenkins" / "mine.yaml").write_text("mine")
    assert run(project, "--check")[0] == 2
    status, out, err = run(project)
    assert status == 0
    assert "jenkins/jobs.yaml: removed" in out
    assert "jenkins.repository is not set" in err
    assert set(contents(project)) == {"Jenkinsfile"}
    (project / "jenkins" / "cloud.yaml").write_text("jenkins: {by: hand}\n")
    assert run(project, "--check")[0] == 0
    assert run(project)[0] == 0
    assert (project / "jenkins" / "cloud.yaml").exists()


def test_a_template_of_the_project_wins_and_is_named(project: Path) -> None:
    own = project / "templates" / "jenkins"
    own.mkdir(parents=True)
    (own / "Jenkinsfile.j2").write_text("// {{ header }}\nnode({{ jenkins.label | groovy }}) { }\n")
    run(project)
    assert (project / "Jenkinsfile").read_text() == (
        "// Generated by `covfleet jenkins render` from templates/jenkins/Jenkinsfile.j2"
        " and [tool.covfleet].\n"
        "node('covfleet-shard') { }\n"
    )
    assert "covfleet's templates" in (project / "jenkins" / "jobs.yaml").read_text()


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("a\n{{ jenkins.lable }}\n", r"templates/jenkins/Jenkinsfile.j2:2 can't be rendered.*lable"),
        ("a\n{{ nothing }}\n", r"Jenkinsfile.j2:2 .*'nothing' is undefined"),
        ("a\n{% if x %}\n", r"Jenkinsfile.j2:2 "),
        ("{{ 1 / 0 }}", r"Jenkinsfile.j2:1 .*division by zero"),
        ("{{ 'x' | nosuchfilter }}", r"Jenkinsfile.j2:1 .*nosuchfilter"),
        ("{% include 'gone.j2' %}", r"Jenkinsfile.j2.* .*gone.j2"),
        ("{{ 'a\\0b' | shell }}", r"NUL"),
    ],
)
def test_a_wrong_template_is_named_with_its_line_and_nothing_is_written(
    project: Path, template: str, said: str
) -> None:
    own = project / "templates" / "jenkins"
    own.mkdir(parents=True)
    (own / "Jenkinsfile.j2").write_text(template)
    status, _, err = run(project)
    assert status == 2
    assert re.search(said, err), err
    assert not contents(project)


def test_a_template_that_is_not_utf8_is_named(project: Path) -> None:
    own = project / "templates" / "jenkins"
    own.mkdir(parents=True)
    (own / "Jenkinsfile.j2").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"templates/jenkins/Jenkinsfile.j2 can't be rendered"):
        render(Settings(), project)


def test_every_fault_of_the_settings_is_reported_at_once(project: Path) -> None:
    (project / "pyproject.toml").write_text(
        r"""
        [tool.covfleet]
        shards = 0
        [tool.covfleet.jenkins]
        label = "it's ${mine}"
        light_labl = "x"
        credentials = "\\u0027"
        job = "a/b"
        folder = "<b>"
        branch = "-x"
        repository = "https://me:word@example.org/x.git"
        url = "https://me:word@example.org/"
        output = "../../etc"
        covfleet = "covfleet\nid"
        drivers = ["pipeline", "pipeline"]
        [tool.covfleet.jenkins.plugins]
        git = "latest"
        [tool.covfleet.jenkins.ec2]
        ami = "ami-${x}"
        plugin = "newest"
        instance_type = "m5"
        instance_profile = "profile"
        requirement = "covfleet; id"
        region = "x y"
        """
    )
    status, _, err = run(project)
    assert status == 2
    keys = re.findall(r"^  pyproject.toml: ([\w.]+): ", err, re.MULTILINE)
    jenkins = (
        *("label", "light_labl", "credentials", "job", "folder", "branch", "repository", "url", "output"),
        *("covfleet", "drivers", "plugins.git", "ec2.ami", "ec2.plugin", "ec2.instance_type"),
        *("ec2.instance_profile", "ec2.requirement", "ec2.region"),
    )
    assert sorted(keys) == sorted(["shards", *(f"jenkins.{key}" for key in jenkins)])
    assert "perhaps you meant jenkins.light_label" in err
    assert "word" not in err.replace("password", ""), "no credentials in the message"
    assert not contents(project)


HOSTILE_WORDS = ("/opt/it's", "${HOME}", r"\u0027", "$(id)", "a b", '"""', "; id", "-x")


def test_a_hostile_command_reaches_a_shell_through_the_jenkinsfile_as_it_is(project: Path, load) -> None:
    """Parsed and evaluated by Groovy itself, then run by a shell."""
    words = ("printf", "%s|", *HOSTILE_WORDS)
    text = jenkinsfile(load({"jenkins.covfleet": shlex.join(words)}), project)
    [literal] = set(re.findall(r"script: ('.*') \+ arguments", text))
    (project / "Jenkinsfile").write_text(text)
    script = f"new GroovyShell().parse(new File('Jenkinsfile')); print({literal})"
    ran = subprocess.run(
        ["groovy", "-e", script],
        cwd=project,
        env=groovy_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    said = subprocess.run(["sh", "-c", ran.stdout], capture_output=True, text=True, timeout=20, check=True)
    assert said.stdout.split("|")[:-1] == list(HOSTILE_WORDS)


def test_nothing_secret_that_stands_in_the_settings_reaches_a_generated_file(project: Path) -> None:
    (project / "pyproject.toml").write_text(
        (project / "pyproject.toml").read_text()
        + "[tool.covfleet.env]\nTOKEN = 'hush'\n[tool.covfleet.image]\nbuild_args = {KEY = 'hush'}\n"
    )
    run(project)
    assert not [name for name, content in contents(project).items() if b"hush" in content]


def test_the_files_of_this_repository_are_up_to_date() -> None:
    root = Path(__file__).parents[2]
    from covfleet.settings.load import load_settings

    found = drifts(render(load_settings(root, {}, {}), root), root)
    assert not found, "run `covfleet jenkins render`:\n" + "".join(drift.diff for drift in found)
