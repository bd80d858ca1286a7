"""The last builds in a table: what Jenkins knows, and what the store does where it can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from covfleet import cli
from covfleet.adapters.folder.store import LocalStore
from covfleet.adapters.jenkins.controller import JenkinsController
from covfleet.jenkins.follow import Follower
from covfleet.jenkins.stored import stored
from covfleet.jenkins.trigger import TriggeredBuild
from covfleet.model import DataFile, Ledger, ReportManifest, ShardShare, Totals, Verdict
from covfleet.store.encoding import to_json
from covfleet.store.keys import BuildKeys
from support.builds import make_plan
from support.controllers import HandClock
from support.documents import assert_documented
from support.fake_jenkins import MULTIJOB, PIPELINE, FakeJenkins, Script, Step, job_xml

COMMIT = "c0ffee" * 6 + "abcd"
JOB = job_xml("SHARDS", "COMMIT", "REQUEST_ID", root=PIPELINE)


@pytest.fixture
def controller(jenkins: FakeJenkins) -> JenkinsController:
    jenkins.jobs["covfleet"] = JOB
    jenkins.looks = 0
    return JenkinsController(jenkins.url, jenkins.user, jenkins.token)


@pytest.fixture
def project(tmp_path: Path, jenkins: FakeJenkins, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, value in {"COVFLEET_JENKINS__URL": jenkins.url, **jenkins.environment}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


class Nobody:
    """A display that nobody looks at."""

    def show(self, *_: object) -> None: ...
    def say(self, *_: object) -> None: ...
    def console(self, *_: object) -> None: ...


def build(controller: JenkinsController, jenkins: FakeJenkins, result: str = "SUCCESS", **given: str) -> None:
    """Have a build, from its start to its end."""
    jenkins.scripts["covfleet"] = Script((Step("x\n"),), result)
    number = controller.trigger("covfleet", {"REQUEST_ID": "r1", **given})
    Follower(controller, HandClock(), Nobody(), "covfleet", "r1", lambda _build: None).follow(
        TriggeredBuild(number)
    )
    revision = {"SHA1": COMMIT, "branch": [{"name": "refs/remotes/origin/main"}]}
    jenkins.builds["covfleet"][-1].actions = [{"lastBuiltRevision": revision}]


def keep(store: LocalStore, number: int, verdict: Verdict = "complete", *, figures: bool = True) -> None:
    """Leave in the store what a build's stages leave there."""
    keys = BuildKeys(COMMIT, f"jenkins-covfleet-{number}")
    combined = DataFile(".coverage", 10, "0" * 64)
    shares = (ShardShare(1, 2, 3, 4.0), ShardShare(2, 2, 3, 4.0))
    ledger = Ledger(COMMIT, keys.build, "feature/x", verdict, 3, shares=shares, combined=combined)
    manifest = ReportManifest(
        COMMIT,
        keys.build,
        "feature/x",
        "2026-01-02T03:04:05+00:00",
        verdict,
        Totals(1, 300, 275),
        "0" * 64,
        (),
    )
    store.put(keys.plan, to_json(make_plan({"1": ["t"]}, commit=COMMIT, build=keys.build)))
    store.put(keys.ledger, to_json(ledger))
    if figures:
        store.put(keys.manifest, to_json(manifest))


def rows(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert cli.status(["jenkins", "status", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert_documented("jenkins status", value)
    assert (value["version"], value["job"]) == (1, "covfleet")
    found: list[dict[str, Any]] = value["builds"]
    return found


def test_a_build_is_shown_with_what_jenkins_and_the_store_know(
    project: Path, controller: JenkinsController, jenkins: FakeJenkins, capsys: pytest.CaptureFixture[str]
) -> None:
    build(controller, jenkins, SHARDS="6")
    keep(LocalStore(project / ".covfleet" / "store"), 1)
    [row] = rows(capsys)
    assert row == {
        "number": 1,
        "result": "SUCCESS",
        "verdict": "complete",
        "coverage": "91.66",
        "duration_s": 83.0,
        "shards": 6,
        "commit": COMMIT,
        "branch": "feature/x",
        "started_at": "2025-11-23T12:14:20+00:00",
        "request": "r1",
        "url": f"{jenkins.url}/job/covfleet/1/",
    }


def test_without_a_store_jenkins_own_words_are_shown(
    project: Path, controller: JenkinsController, jenkins: FakeJenkins, capsys: pytest.CaptureFixture[str]
) -> None:
    build(controller, jenkins, "FAILURE", SHARDS="6")
    [row] = rows(capsys)
    assert (row["result"], row["verdict"], row["coverage"]) == ("FAILURE", None, None)
    assert (row["commit"], row["branch"], row["shards"]) == (COMMIT, "main", 6)
    assert not (project / ".covfleet").exists()


def test_a_build_that_was_refused_a_figure_shows_its_verdict_only(
    project: Path, controller: JenkinsController, jenkins: FakeJenkins, capsys: pytest.CaptureFixture[str]
) -> None:
    build(controller, jenkins, "FAILURE")
    store = LocalStore(project / ".covfleet" / "store")
    keep(store, 1, "conflicting", figures=False)
    [row] = rows(capsys)
    assert (row["verdict"], row["coverage"]) == ("conflicting", None)
    keep(store, 1, "complete")
    keep(store, 1, "partial", figures=False)  # combined again since its reports were made
    [row] = rows(capsys)
    assert (row["verdict"], row["coverage"]) == ("partial", None)


def test_newest_builds_come_first_and_running_ones_say_so(
    project: Path, controller: JenkinsController, jenkins: FakeJenkins, capsys: pytest.CaptureFixture[str]
) -> None:
    for result in ("SUCCESS", "UNSTABLE", "ABORTED"):
        build(controller, jenkins, result)
    jenkins.scripts["covfleet"] = Script((Step("x\n"),) * 9)
    controller.queue_item(controller.trigger("covfleet", {"REQUEST_ID": "r4"}))
    assert [row["result"] for row in rows(capsys)] == ["RUNNING", "ABORTED", "UNSTABLE", "SUCCESS"]
    assert cli.status(["jenkins", "status", "--limit", "2"]) == 0
    table = capsys.readouterr().out
    assert "#4" in table
    assert "#3" in table
    assert "#2" not in table


def test_the_table_shows_names_from_outside_as_they_are(
    project: Path, controller: JenkinsController, jenkins: FakeJenkins, capsys: pytest.CaptureFixture[str]
) -> None:
    build(controller, jenkins)
    revision = {"SHA1": COMMIT, "branch": [{"name": "origin/[red]x\x1b[2J"}]}
    jenkins.builds["covfleet"][-1].actions = [{"lastBuiltRevision": revision}]
    assert cli.status(["jenkins", "status"]) == 0
    table = capsys.readouterr().out
    assert "[red]x [2J" in table
    assert "\x1b" not in table
    assert COMMIT[:12] in table


def test_a_store_that_cannot_be_read_hides_only_what_it_knows(
    project: Path, controller: JenkinsController, jenkins: FakeJenkins, capsys: pytest.CaptureFixture[str]
) -> None:
    build(controller, jenkins)
    (project / "store").write_text("a file, no folder")
    assert cli.status(["jenkins", "status", "--store", "store"]) == 0
    said = capsys.readouterr()
    assert "#1" in said.out
    assert "SUCCESS" in said.out


def test_the_shards_of_a_multi_job_are_counted(
    project: Path, controller: JenkinsController, jenkins: FakeJenkins, capsys: pytest.CaptureFixture[str]
) -> None:
    jenkins.jobs["covfleet-multi"] = job_xml("COMMIT", "REQUEST_ID", root=MULTIJOB)
    children = tuple(
        {
            "jobName": "s",
            "jobAlias": f"shard {k}",
            "phaseName": "shards",
            "buildNumber": k,
            "result": "SUCCESS",
        }
        for k in (1, 2, 2)  # one of them was tried twice
    )
    jenkins.scripts["covfleet-multi"] = Script((Step(sub_builds=children), Step()))
    controller.queue_item(controller.trigger("covfleet-multi", {"REQUEST_ID": "r"}))
    controller.build("covfleet-multi", 1)
    assert cli.status(["jenkins", "status", "--driver", "multijob", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["builds"]
    assert row["shards"] == 2


def test_a_job_without_builds_and_one_that_is_not_there_are_told(
    project: Path, controller: JenkinsController, jenkins: FakeJenkins, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.status(["jenkins", "status"]) == 0
    assert "covfleet has no builds yet" in capsys.readouterr().out
    jenkins.jobs.clear()
    assert cli.status(["jenkins", "status"]) == 6
    assert "the controller doesn't have it" in capsys.readouterr().err


def test_a_damaged_ledger_shows_nothing(
    project: Path, controller: JenkinsController, jenkins: FakeJenkins
) -> None:
    build(controller, jenkins)
    store = LocalStore(project)
    keep(store, 1)
    known = controller.build("covfleet", 1)
    assert known
    assert stored(store, known).ledger
    store.put(BuildKeys(COMMIT, "jenkins-covfleet-1").ledger, b"damaged")
    assert stored(store, known).ledger is None


@pytest.mark.parametrize(
    ("verdict", "figures", "gate", "code"),
    [("complete", True, "95", 4), ("complete", True, "50", 1), ("partial", False, "50", 5)],
)
def test_a_failure_that_no_console_explains_is_explained_by_the_store(
    project: Path,
    controller: JenkinsController,
    jenkins: FakeJenkins,
    verdict: Verdict,
    figures: bool,
    gate: str,
    code: int,
) -> None:
    (project / "pyproject.toml").write_text(f"[tool.covfleet.gate]\nline = {gate}\n")
    build(controller, jenkins, "FAILURE")
    keep(LocalStore(project / ".covfleet" / "store"), 1, verdict, figures=figures)
    assert cli.status(["jenkins", "follow", "1"]) == code


def test_the_end_of_a_followed_build_shows_its_figures(
    project: Path, controller: JenkinsController, jenkins: FakeJenkins, capsys: pytest.CaptureFixture[str]
) -> None:
    build(controller, jenkins, "UNSTABLE")
    keep(LocalStore(project / ".covfleet" / "store"), 1)
    assert cli.status(["jenkins", "follow"]) == 3
    assert capsys.readouterr().out == f"coverage 91.66%, complete, commit {COMMIT}\n"
    assert cli.status(["jenkins", "follow", "r1", "--json"]) == 3
    value = json.loads(capsys.readouterr().out)
    assert_documented("jenkins follow", value)
    assert (value["build"], value["result"], value["total_percent"]) == (1, "UNSTABLE", "91.66")
