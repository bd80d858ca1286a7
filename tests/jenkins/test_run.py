"""Starting a build: once and only once, whatever becomes of the request; and how its end is judged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from covfleet import cli
from covfleet.adapters.jenkins.controller import JenkinsController
from covfleet.errors import ConfigurationError, JenkinsError, JenkinsUnavailableError, PipelineError
from covfleet.jenkins.jobs import definitions
from covfleet.jenkins.outcome import code_in_console, judge
from covfleet.jenkins.trigger import TriggerRequest, find, locate, new_request, start
from covfleet.ports.controller import Build
from covfleet.settings.schema import Settings
from support.controllers import HandClock, Place
from support.documents import assert_documented
from support.fake_jenkins import MULTIJOB, PIPELINE, FakeJenkins, Script, Step, job_xml
from support.processes import covfleet

JOB = job_xml("SHARDS", "COMMIT", "REPLAN", "REQUEST_ID", root=PIPELINE)
REQUEST = TriggerRequest("covfleet", "r1", {"SHARDS": "3"})


@pytest.fixture
def controller(jenkins: FakeJenkins) -> JenkinsController:
    jenkins.jobs["covfleet"] = JOB
    return JenkinsController(jenkins.url, jenkins.user, jenkins.token, timeout_s=1)


@pytest.fixture
def said() -> list[str]:
    return []


def test_a_build_is_asked_for_with_its_parameters_and_its_request_id(place: Place, said: list[str]) -> None:
    job = place.name("covfleet")
    place.controller.create_job(job, job_xml("SHARDS", "REQUEST_ID", command="true"))
    request = new_request(job, {"SHARDS": "3"})
    started = start(place.controller, HandClock(), request, said.append)
    assert started.queue_item
    item = place.controller.queue_item(started.queue_item)
    assert item
    assert item.parameters == {"SHARDS": "3", "REQUEST_ID": request.id}
    assert find(place.controller, job, request.id)
    assert find(place.controller, job, "another") is None
    assert not said


@pytest.mark.parametrize("how", ["500", "503", "drop", "stall", "short"])
def test_a_request_that_was_accepted_although_it_broke_is_not_sent_again(
    controller: JenkinsController, jenkins: FakeJenkins, said: list[str], how: str
) -> None:
    jenkins.fail("POST", "buildWithParameters", how, after=True)
    started = start(controller, HandClock(), REQUEST, said.append)
    assert (started.queue_item, started.build) == (1, None)
    assert jenkins.posts("buildWithParameters") == 1
    assert jenkins.all_builds("covfleet") == 1


def test_a_request_whose_build_runs_already_is_found_among_the_builds(
    controller: JenkinsController, jenkins: FakeJenkins, said: list[str]
) -> None:
    jenkins.fail("POST", "buildWithParameters", "drop", after=True)
    clock = HandClock(lambda: jenkins.begin(jenkins.items[1]))
    assert start(controller, clock, REQUEST, said.append).build == 1
    assert jenkins.all_builds("covfleet") == 1


def test_a_request_that_arrives_late_is_waited_for(
    controller: JenkinsController, jenkins: FakeJenkins, said: list[str]
) -> None:
    """It was stuck in a proxy: the first looks don't find it."""
    jenkins.fail("POST", "buildWithParameters", "drop")
    late = JenkinsController(jenkins.url, jenkins.user, jenkins.token)
    clock = HandClock(
        *[lambda: None] * 4, lambda: late.trigger("covfleet", {"SHARDS": "3", "REQUEST_ID": "r1"})
    )
    assert start(controller, clock, REQUEST, said.append).queue_item == 1
    assert jenkins.all_builds("covfleet") == 1
    assert not any("trying again" in line for line in said)


@pytest.mark.parametrize("how", ["500", "503", "drop", "stall"])
def test_a_request_that_never_arrived_is_sent_again(
    controller: JenkinsController, jenkins: FakeJenkins, said: list[str], how: str
) -> None:
    jenkins.fail("POST", "buildWithParameters", how)
    assert start(controller, HandClock(), REQUEST, said.append).queue_item == 1
    assert jenkins.posts("buildWithParameters") == 2
    assert jenkins.all_builds("covfleet") == 1
    assert "trying again" in said[-1]


def test_a_request_survives_a_restart_in_the_middle(
    controller: JenkinsController, jenkins: FakeJenkins, said: list[str]
) -> None:
    def down() -> None:
        jenkins.stop()

    def up() -> None:
        jenkins.start()
        jenkins.fail("GET", "", "503", times=4)  # "getting ready"

    jenkins.fail("POST", "buildWithParameters", "drop", after=True)
    started = start(controller, HandClock(down, lambda: None, up), REQUEST, said.append)
    assert started.queue_item == 1
    assert jenkins.all_builds("covfleet") == 1


def test_a_request_that_was_lost_in_a_crash_is_sent_again(
    controller: JenkinsController, jenkins: FakeJenkins, said: list[str]
) -> None:
    jenkins.fail("POST", "buildWithParameters", "drop", after=True)
    assert start(controller, HandClock(jenkins.items.clear), REQUEST, said.append).queue_item
    assert jenkins.all_builds("covfleet") == 1


def test_a_request_that_always_fails_ends_after_three(
    controller: JenkinsController, jenkins: FakeJenkins, said: list[str]
) -> None:
    jenkins.fail("POST", "buildWithParameters", "500", times=10)
    with pytest.raises(JenkinsUnavailableError, match=r"could not start the job covfleet .* logging ID"):
        start(controller, HandClock(), REQUEST, said.append)
    assert jenkins.posts("buildWithParameters") == 3


def test_a_controller_that_stays_away_ends_with_how_to_go_on(
    controller: JenkinsController, jenkins: FakeJenkins, said: list[str]
) -> None:
    jenkins.fail("POST", "buildWithParameters", "drop", after=True)
    jenkins.fail("GET", "/queue", "503", times=10_000)
    with pytest.raises(JenkinsUnavailableError, match="it may have accepted the request before") as raised:
        start(controller, HandClock(), REQUEST, said.append)
    assert raised.value.hint.endswith("covfleet jenkins follow r1")
    assert jenkins.posts("buildWithParameters") == 1


def test_a_refusal_is_not_repeated(
    controller: JenkinsController, jenkins: FakeJenkins, said: list[str]
) -> None:
    jenkins.denied.add("hudson.model.Item.Build")
    with pytest.raises(JenkinsError, match="Job/Build"):
        start(controller, HandClock(), REQUEST, said.append)
    assert jenkins.posts("buildWithParameters") == 1


def test_parameters_that_the_job_would_ignore_are_refused(
    controller: JenkinsController, jenkins: FakeJenkins, said: list[str]
) -> None:
    jenkins.jobs["covfleet"] = job_xml("SHARDS")
    with pytest.raises(ConfigurationError, match="REQUEST_ID") as raised:
        start(controller, HandClock(), REQUEST, said.append)
    assert "covfleet jenkins apply" in raised.value.hint
    jenkins.jobs["covfleet"] = job_xml("COMMIT", "REQUEST_ID")
    with pytest.raises(ConfigurationError, match="no parameter SHARDS"):
        start(controller, HandClock(), REQUEST, said.append)
    assert not jenkins.posts("buildWithParameters")


def test_a_build_is_named_by_its_number_or_by_its_request(
    controller: JenkinsController, jenkins: FakeJenkins, said: list[str]
) -> None:
    jenkins.looks = 0
    start(controller, HandClock(), REQUEST, said.append)
    assert locate(controller, "covfleet", "r1")[1].queue_item == 1
    jenkins.begin(jenkins.items[1])
    assert [locate(controller, "covfleet", name)[1].build for name in ("r1", "1")] == [1, 1]
    for wrong in ("r2", "2", "99999999999999999999", "../x"):
        with pytest.raises(JenkinsError, match="no build"):
            locate(controller, "covfleet", wrong)


def test_request_ids_differ_and_are_no_build_numbers() -> None:
    ids = {new_request("x", {}).id for _ in range(100)}
    assert len(ids) == 100
    assert not any(each.isdecimal() for each in ids)


# How a build's end is judged


def ended(result: str) -> Build:
    fields = {"job": "covfleet", "number": 7, "url": "https://ci/job/covfleet/7/", "queue_id": 3}
    return Build(
        **fields, building=False, result=result, started_at=HandClock().now(), duration_s=1.0, estimated_s=1.0
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("result", "code", "status"),
    [
        ("UNSTABLE", None, 3),
        ("UNSTABLE", 5, 3),
        ("FAILURE", None, 1),
        *(("FAILURE", code, code) for code in range(1, 7)),
        ("FAILURE", 137, 1),
        ("ABORTED", None, 130),
        ("NOT_BUILT", None, 1),
        ("", None, 1),
    ],
)
def test_a_result_has_its_exit_code(result: str, code: int | None, status: int) -> None:
    with pytest.raises(PipelineError) as raised:
        judge(ended(result), code)
    assert raised.value.exit_code == status
    assert "covfleet #7" in str(raised.value)
    assert "https://ci/job/covfleet/7/" in raised.value.hint


def test_success_is_no_error() -> None:
    judge(ended("SUCCESS"), None)
    judge(ended("SUCCESS"), 5)


def test_the_console_s_last_exit_code_counts() -> None:
    console = (
        "ERROR: covfleet shard 3 ended with exit code 6\n"
        "[2026-11-24T00:00:00Z] ERROR: covfleet combine ended with exit code 5\nFinished: FAILURE\n"
    )
    assert code_in_console(console) == 5
    assert code_in_console("a test printed: ended with exit code 4\n") is None
    assert code_in_console("") is None


def test_the_jenkinsfile_says_exit_codes_as_they_are_read() -> None:
    template = Path(__file__).parents[2] / "templates" / "jenkins" / "Jenkinsfile.j2"
    said = re.findall(r'error\("(covfleet [^"]*exit code[^"]*)"\)', template.read_text("utf-8"))
    assert said
    for each in said:
        assert code_in_console(each.replace("${arguments}", "gate").replace("${status}", "4")) == 4


# The command


@pytest.fixture
def environment(jenkins: FakeJenkins) -> dict[str, str]:
    jenkins.jobs["covfleet"] = JOB
    return {"COVFLEET_JENKINS__URL": jenkins.url, **jenkins.environment}


@pytest.fixture
def here(tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command line in this process: a project's folder, and the controller in the environment."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_run_says_how_to_follow(tmp_path: Path, jenkins: FakeJenkins, environment: dict[str, str]) -> None:
    done = covfleet(tmp_path, "jenkins", "run", "--commit", "c0ffee", "--shards", "5", **environment)
    assert done.returncode == 0, done.stderr
    parameters = jenkins.items[1].parameters
    assert (parameters["COMMIT"], parameters["SHARDS"]) == ("c0ffee", "5")
    assert f"covfleet jenkins follow {parameters['REQUEST_ID']}" in done.stderr
    assert parameters["REQUEST_ID"] in done.stdout


@pytest.mark.parametrize("driver", ["pipeline", "multijob"])
def test_the_generated_jobs_take_what_run_asks_for(
    project: Path,
    load: Callable[..., Settings],
    jenkins: FakeJenkins,
    environment: dict[str, str],
    driver: str,
) -> None:
    jenkins.jobs = dict(definitions(load(), project).jobs)
    asked = ["--commit", "c0ffee", *(["--shards", "9", "--replan"] if driver == "pipeline" else [])]
    done = covfleet(project, "jenkins", "run", "--driver", driver, *asked, **environment)
    assert done.returncode == 0, done.stderr
    item = jenkins.items[1]
    assert item.job == ("team/coverage/covfleet" if driver == "pipeline" else "team/coverage/covfleet-multi")
    assert item.parameters["COMMIT"] == "c0ffee"
    assert item.parameters["REQUEST_ID"]
    if driver == "pipeline":
        assert (item.parameters["SHARDS"], item.parameters["REPLAN"]) == ("9", "true")


def test_run_follow_ends_as_the_build_does(
    tmp_path: Path, jenkins: FakeJenkins, environment: dict[str, str]
) -> None:
    jenkins.looks = 0
    steps = (
        Step("one\n", (("Tests", "IN_PROGRESS"),)),
        Step("covfleet gate ended with exit code 4\n", (("Tests", "SUCCESS"), ("Gate", "FAILED"))),
    )
    jenkins.scripts["covfleet"] = Script(steps, "FAILURE")
    done = covfleet(tmp_path, "jenkins", "run", "--branch", "feature/x", "--follow", **environment)
    assert done.returncode == 4, done.stderr
    assert jenkins.items[1].parameters["COMMIT"] == "refs/heads/feature/x"
    assert "Gate: FAILED" in done.stderr
    assert "covfleet: error: covfleet #1 FAILED: the coverage is below the gate" in done.stderr
    assert jenkins.token not in done.stderr + done.stdout


def test_run_prints_the_console_on_standard_output_unless_json_is_wanted_there(
    tmp_path: Path, jenkins: FakeJenkins, environment: dict[str, str]
) -> None:
    jenkins.looks = 0
    done = covfleet(tmp_path, "jenkins", "run", "--console", **environment)
    assert (done.returncode, done.stdout) == (0, "one\ntwo\n")
    done = covfleet(tmp_path, "jenkins", "run", "--console", "--json", **environment)
    assert re.search(r"^one$(.|\n)*^two$", done.stderr, re.MULTILINE)
    value = json.loads(done.stdout)
    assert_documented("jenkins follow", value)  # it was followed to its end
    assert (value["version"], value["build"], value["result"], value["job"]) == (1, 2, "SUCCESS", "covfleet")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--branch", "x", "--commit", "y"), "exclude each other"),
        (("--branch", "-x"), "git doesn't allow this branch name"),
        (("--branch", "${PWD}"), "Jenkins would expand"),
        (("--commit", ":.*"), "isn't a valid commit"),
        (("--shards", "0"), "shards"),
        (("--driver", "freestyle"), "pipeline"),
    ],
)
def test_wrong_usage_starts_nothing(
    here: Path,
    jenkins: FakeJenkins,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    assert cli.status(["jenkins", "run", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not jenkins.items


def test_a_multi_job_takes_no_number_of_shards(
    here: Path, jenkins: FakeJenkins, capsys: pytest.CaptureFixture[str]
) -> None:
    jenkins.jobs["covfleet-multi"] = job_xml("COMMIT", "REQUEST_ID", root=MULTIJOB)
    assert cli.status(["jenkins", "run", "--driver", "multijob", "--shards", "9"]) == 2
    assert "set by rendering" in capsys.readouterr().err
    assert cli.status(["jenkins", "run", "--driver", "multijob"]) == 0
    assert jenkins.items[1].job == "covfleet-multi"


def test_without_a_controller_or_its_login_it_is_said_what_to_set(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JENKINS_TOKEN", "wrong-token")
    assert cli.status(["jenkins", "run"]) == 6
    said = capsys.readouterr().err
    assert "JENKINS_TOKEN" in said
    assert "wrong-token" not in said
    monkeypatch.delenv("COVFLEET_JENKINS__URL")
    assert cli.status(["jenkins", "run"]) == 2
    assert "[tool.covfleet.jenkins]" in capsys.readouterr().err
