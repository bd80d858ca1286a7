"""Linting a Jenkinsfile: syntax by a controller or by Groovy's parser, steps and plugins by covfleet."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from covfleet import cli
from covfleet.adapters.jenkins.groovy import GroovyLint
from covfleet.errors import PipelineError, ServiceError
from covfleet.jenkins.lint import Finding, findings
from covfleet.jenkins.render import render
from covfleet.jenkins.requirements import STEPS, plugins_of_steps
from covfleet.jenkins.steps import calls
from covfleet.settings.schema import JenkinsSettings, Settings
from support.controllers import Place
from support.documents import assert_documented
from support.fake_jenkins import FakeJenkins
from support.needs import missing

SOUND = """\
pipeline {
    agent any
    stages {
        stage('Tests') {
            steps {
                sh 'covfleet run'
            }
        }
    }
}
"""
PLUGINS = {
    "pipeline-model-definition": "2.2273.v643f36ed9e94",
    "workflow-durable-task-step": "1464.v2d3f5c68f84c",
    "workflow-basic-steps": "1098.v808b_fd7f8cf4",
}

Lint = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lint:
    """Lint a Jenkinsfile through the command line, on a controller if one is given."""

    def run(text: str, *arguments: str, on: FakeJenkins | Place | None = None) -> tuple[int, str, str]:
        (tmp_path / "Jenkinsfile").write_text(text)
        environ = on.environment if on else {}
        if isinstance(on, FakeJenkins):
            environ = {**environ, "COVFLEET_JENKINS__URL": on.url}
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        status = cli.status(["jenkins", "lint", "--project", str(tmp_path), *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def jenkins(jenkins: FakeJenkins) -> FakeJenkins:
    jenkins.plugins = dict(PLUGINS)
    return jenkins


def with_steps(*lines: str) -> str:
    return SOUND.replace("sh 'covfleet run'", "\n                ".join(lines))


def names(text: str) -> list[str]:
    return [call.step for call in calls(text)]


# Which steps there are


def test_what_only_looks_like_a_step_is_none() -> None:
    text = with_steps(
        "sh 'one(1) \\' two(2) \"'",
        'sh "three(3) ${four(4)} \\" five(5)"',
        'sh """six(6) "seven(7)"',
        '"""',
        "sh '''eight(8) 'nine(9)",
        "'''",
        "// ten(10)",
        "/* eleven 'x'",
        "twelve() */",
        "sh(script: /thirteen(13) 'x'/)",
    )
    assert names(text) == ["pipeline", "sh"]


def test_every_way_to_call_a_step_is_seen() -> None:
    called = (
        *("s1 'x'", 's2 "x"', "s3('x')", "s4()", "s5 name: 'x'", "s6 x", "s7 { s8() }", "s9(2) { s10 1 }"),
        *("x = s11 returnStdout: true, script: 'y'", "if (s12('x')) { s13 'x' }", "s14 ([a: 1])"),
        *("a; s15 'x'", "m = ['k': { s16 scm }]", "[1].each { k -> s17 k }"),
    )
    assert names(with_steps(*called)) == ["pipeline", *(f"s{k}" for k in range(1, 18))]


def test_methods_variables_and_words_of_groovy_are_no_steps() -> None:
    text = """\
        def helper(int n) { return n }
        String other() { 'x' }
        def closure = { it -> it }
        pipeline { stages { stage('a') { when { expression { params.X } } steps { script {
            def list = [1]
            int count = env.X.toInteger()
            for (int k = 1; k <= count; k++) { list.add(k) }
            while (true) { break }
            switch (count) { case 1: break }
            try { helper(1) } catch (Exception error) { throw new IllegalStateException('x') }
            closure('x')
            other()
            if (!(count in list)) { assert count }
            currentBuild.result = 'x'
            parameters.each { key, value -> key(value) }
        } } post { always { } unstable { } } } } }
    """
    assert set(names(text)) <= {"pipeline", "script", "key"}


def test_a_section_and_a_step_of_one_name_are_told_apart() -> None:
    assert "unstable" not in names("post { unstable { echo 'x' } }")
    assert names("unstable('x')") == ["unstable"]
    assert names("agent { label 'x' }") == []
    assert names("agent none") == []
    assert "agent" in names("retry(count: 2, conditions: [agent(), nonresumable()]) { }")


def test_a_call_is_named_with_its_first_place() -> None:
    [_, call, *_] = calls(with_steps("sh 'a'", "sh 'b'"))
    assert (call.step, call.line, call.column) == ("sh", 6, 17)


@pytest.mark.parametrize(
    "text", ["", "'", '"', '"""', "/*", "\\", "${", "é" * 10, "\0\r\n\t", "}" * 50, "sh"]
)
def test_no_text_upsets_the_reading(text: str) -> None:
    calls(text)
    calls(SOUND + text)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"executor": "docker", "publish": {"site": "s3://b/site"}, "jenkins": {"credentials": "aws"}},
        {"shards": 200, "jenkins": {"repository": "https://git.example.org/a.git"}},
    ],
)
def test_every_step_of_our_own_jenkinsfile_is_known(settings: dict[str, object], tmp_path: Path) -> None:
    given = Settings.model_validate(settings)
    text = next(file.text for file in render(given, tmp_path) if file.path == "Jenkinsfile")
    assert text
    assert {"pipeline", "sh", "node", "retry", "parallel", "junit"} <= set(names(text)) <= STEPS.keys()
    assert ("coverage", "the step recordCoverage of the Jenkinsfile") in plugins_of_steps(text, given.jenkins)
    assert set(names(text)) - {"withCredentials"} == set(names(text)) or given.jenkins.credentials


# What validator and parser say


def test_errors_are_taken_apart_with_their_places() -> None:
    said = """\
Errors encountered validating Jenkinsfile:
WorkflowScript: 3: Unknown stage section "stepz". Starting with version 0.5, … @ line 3, column 9.
           stage('a') {
           ^

WorkflowScript: 12: Missing required section "agent" @ line 12, column 1.
   pipeline {
   ^

"""
    first, second = findings(said)
    assert (first.line, first.column) == (3, 9)
    assert first.message.startswith('Unknown stage section "stepz". Starting')
    assert second == Finding(12, 1, 'Missing required section "agent"')


def test_an_answer_without_places_is_one_finding() -> None:
    assert findings("Jenkinsfile content 'x' did not contain the 'pipeline' step\n") == (
        Finding(0, 0, "Jenkinsfile content 'x' did not contain the 'pipeline' step"),
    )
    assert findings("") == ()


def test_an_error_of_the_validator_ends_with_2_and_its_place(jenkins: FakeJenkins, lint: Lint) -> None:
    jenkins.invalid["stepz"] = (
        'WorkflowScript: 3: Unknown stage section "stepz" @ line 3, column 9.\n  x\n  ^'
    )
    status, out, err = lint(SOUND.replace("steps", "stepz"), on=jenkins)
    assert (status, err) == (2, "")
    assert out.splitlines()[0] == 'Jenkinsfile:3:9: error: Unknown stage section "stepz"'


def test_a_step_that_the_validator_takes_is_missed_all_the_same(jenkins: FakeJenkins, lint: Lint) -> None:
    status, out, _ = lint(with_steps("sh 'a'", "nosuchstep 'b'"), on=jenkins)
    assert status == 2
    assert out.startswith("Jenkinsfile:7:17: error: the step nosuchstep is unknown: ")
    assert "[tool.covfleet.jenkins.steps]" in out


def test_a_step_whose_plugin_is_absent_or_too_old_is_named_with_versions(
    jenkins: FakeJenkins, lint: Lint
) -> None:
    jenkins.plugins["workflow-basic-steps"] = "948.v2c72a_091b_b_68"
    text = with_steps("retry(2) { sh 'a' }", "junit 'x.xml'")
    status, out, _ = lint(text, on=jenkins)
    old, absent = out.splitlines()
    assert status == 2
    assert old == (
        "Jenkinsfile:6:17: error: the step retry needs the plugin workflow-basic-steps 969.vc4ec3e4854b_f or "
        "newer: the controller has 948.v2c72a_091b_b_68"
    )
    assert absent.startswith(
        "Jenkinsfile:7:17: error: the step junit needs the plugin junit: it isn't installed"
    )


def test_a_controller_without_any_plugin_lacks_all(jenkins: FakeJenkins, lint: Lint) -> None:
    jenkins.plugins.clear()
    assert lint(SOUND, on=jenkins)[1].count("it isn't installed") == 2


def test_steps_of_the_settings_are_known_with_their_plugins(
    jenkins: FakeJenkins, lint: Lint, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.covfleet.jenkins]\nsteps = {slackSend = "slack", ours = ""}\nplugins = {slack = "700.v1"}\n'
    )
    text = with_steps("sh 'a'", "ours()", "slackSend channel: 'a'")
    status, out, _ = lint(text, on=jenkins)
    assert status == 2
    assert out == (
        "Jenkinsfile:8:17: error: the step slackSend needs the plugin slack 700.v1 or newer: "
        "it isn't installed or isn't active\n"
    )
    jenkins.plugins["slack"] = "761.v2a_8770f0d169"
    assert lint(text, on=jenkins)[:2] == (0, "")


def test_a_sound_file_ends_with_0_and_says_who_thinks_so(jenkins: FakeJenkins, lint: Lint) -> None:
    status, out, err = lint(SOUND, on=jenkins)
    assert (status, out, err) == (0, "", f"{jenkins.url} found no faults in Jenkinsfile.\n")
    said = json.loads(lint(SOUND, "--json", on=jenkins)[1])
    assert_documented("jenkins lint", said)
    assert (said["version"], said["checked_by"], said["findings"]) == (1, jenkins.url, [])


def test_a_file_that_is_not_there_or_no_text_is_named(lint: Lint, tmp_path: Path) -> None:
    status, _, err = lint(SOUND, str(tmp_path / "other"))
    assert status == 2
    assert "other" in err
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert lint(SOUND, str(tmp_path / "binary"))[0] == 2


def test_a_controller_that_does_not_answer_ends_with_6(jenkins: FakeJenkins, lint: Lint) -> None:
    jenkins.fail("POST", "validate", "503")
    status, _, err = lint(SOUND, on=jenkins)
    assert status == 6
    assert jenkins.token not in err


def test_lint_on_a_controller(place: Place, lint: Lint) -> None:
    if place.fake:
        place.fake.plugins = dict(PLUGINS)
    assert lint(SOUND, on=place)[0] == 0
    status, out, _ = lint("pipeline {\n    agent any\n}\n".replace("pipeline", "pipelin"), on=place)
    assert status == 2
    assert "error:" in out
    assert "the step nosuchstep is unknown" in lint(with_steps("nosuchstep()"), on=place)[1]


# Without a controller


def test_without_the_parser_it_says_how_to_install_it(
    lint: Lint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, _, err = lint(SOUND)
    assert status == 6
    assert "npm install --global npm-groovy-lint@" in err


def test_without_java_it_says_how_to_install_it(
    lint: Lint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    status, _, err = lint(SOUND)
    assert status == 6
    assert "can't find java" in err


def test_a_parser_that_fails_or_babbles_is_an_error(tmp_path: Path) -> None:
    environ = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    program(tmp_path, "echo out of memory >&2; exit 9")
    program(tmp_path, "exit 0", "java")
    with pytest.raises(ServiceError, match="status 9: out of memory"):
        GroovyLint(environ).errors(SOUND)
    for said in ("", "nothing", "{}", '{"files": {"x": {}}}', '{"files": 3}', "{"):
        program(tmp_path, f"printf '%s' '{said}'")
        with pytest.raises(PipelineError, match="something other than its report"):
            GroovyLint(environ).errors(SOUND)


def test_a_parser_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    program(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; wait")
    program(tmp_path, "exit 0", "java")
    environ = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    with pytest.raises(ServiceError, match="didn't end within 1 s"):
        GroovyLint(environ, timeout_s=1).errors(SOUND)
    child = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")
    deadline = time.monotonic() + 10
    while child.exists() and child.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "its child still runs"
        time.sleep(0.05)


@pytest.mark.slow
def test_groovy_s_own_parser_finds_syntax_errors_with_their_places(
    real_parser: None, lint: Lint, tmp_path: Path
) -> None:
    (tmp_path / ".groovylintrc.json").write_text('{"rules": "nonsense of the project\'s own"}')
    status, out, err = lint(SOUND, "--offline")
    assert (status, out) == (0, "")
    assert err == "npm-groovy-lint found no faults in Jenkinsfile.\n"
    status, out, _ = lint(with_steps("sh 'a", "nosuchstep()"), "--offline")
    assert status == 2
    assert "Jenkinsfile:6:20: error: Unexpected character" in out
    assert "Jenkinsfile:7:17: error: the step nosuchstep is unknown" in out


@pytest.mark.slow
def test_our_own_jenkinsfile_parses(real_parser: None, lint: Lint, tmp_path: Path) -> None:
    settings = Settings(executor="docker", jenkins=JenkinsSettings(credentials="aws"))
    text = next(file.text for file in render(settings, tmp_path) if file.path == "Jenkinsfile")
    assert text
    assert lint(text, "--offline")[0] == 0


@pytest.fixture
def real_parser() -> None:
    for name, how in (
        ("npm-groovy-lint", "npm install --global npm-groovy-lint@15.2.2"),
        ("java", "apt-get install default-jre-headless"),
    ):
        if not shutil.which(name):
            missing(name, how)


def program(folder: Path, script: str, name: str = "npm-groovy-lint") -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
