"""Jobs, folders and views on the controller: decided first, written then, and nothing that isn't ours."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from covfleet import cli
from covfleet.adapters.jenkins.controller import JenkinsController
from covfleet.errors import ConfigurationError, JenkinsError
from covfleet.jenkins import xml_forms
from covfleet.jenkins.apply import Changes, Found, Key, Operation, Rules, decide, look, perform, wanted
from covfleet.jenkins.jobs import Definitions
from covfleet.jenkins.ownership import Mark, mark_of, marked
from covfleet.jenkins.requirements import is_older
from support.controllers import Place
from support.documents import assert_documented
from support.fake_jenkins import MULTIJOB, FakeJenkins, folder_xml, job_xml

REPOSITORY = "https://git.example.org/team/app.git"
PINNED = Path(__file__).parents[2] / "docker" / "jenkins" / "plugins.txt"
PLUGINS = dict(line.split(":") for line in PINNED.read_text().splitlines() if not line.startswith("#"))
OURS = Rules(REPOSITORY, {})

Covfleet = Callable[..., tuple[int, str, str]]


class Normalising(FakeJenkins):
    """Answers with XML of its own making, as the real controller does: it never keeps what it was given.

    Attributes with versions, defaults that nobody sent, another order; and elements that only older versions
    of a plugin knew are gone.
    """

    def _store(self, there: dict[str, str], full: str, body: bytes) -> Any:
        answer = super()._store(there, full, body)
        if answer.status == 200:
            root = ET.fromstring(there[full])
            for parent in root.iter():
                for child in [each for each in parent if each.tag in ("recursiveSubmodules", "submoduleCfg")]:
                    parent.remove(child)
                parent[:] = list(parent)[::-1] if parent is root else list(parent)
                if "." in parent.tag:
                    parent.set("plugin", "some-plugin@1.2")
            ET.SubElement(root, "canRoam").text = "false"
            ET.SubElement(root, "triggers")
            there[full] = ET.tostring(root, "unicode")
        return answer


@pytest.fixture
def normalising() -> Iterator[FakeJenkins]:
    controller = Normalising()
    controller.plugins = dict(PLUGINS)
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture
def covfleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Covfleet:
    """Run the command line on a project whose jobs lie in team/cov; return status, output and errors."""
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.covfleet]\nshards = 3\n[tool.covfleet.jenkins]\nrepository = "{REPOSITORY}"\n'
        'folder = "team/cov"\n'
    )

    def run(place: FakeJenkins | Place, *arguments: str) -> tuple[int, str, str]:
        environ = place.environment
        if isinstance(place, FakeJenkins):
            environ = {**environ, "COVFLEET_JENKINS__URL": place.url}
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        status = cli.status(["jenkins", *arguments, "--project", str(tmp_path)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def controller(normalising: FakeJenkins) -> JenkinsController:
    return JenkinsController(normalising.url, normalising.user, normalising.token, timeout_s=5)


def multijob(*children: str) -> str:
    phases = "".join(
        f"<com.tikal.jenkins.plugins.multijob.PhaseJobsConfig><jobName>{child}</jobName>"
        "</com.tikal.jenkins.plugins.multijob.PhaseJobsConfig>"
        for child in children
    )
    return f"<{MULTIJOB}><builders><b><phaseJobs>{phases}</phaseJobs></b></builders></{MULTIJOB}>"


def decided(
    jobs: dict[str, str], has: dict[str, str], rules: Rules = OURS, plugins: dict[str, str] | None = None
) -> Changes:
    """Decide on jobs alone, on a controller with these."""
    items = wanted(Definitions(jobs, {}), rules.owner)
    there: dict[Key, str] = {("job", name): xml for name, xml in has.items()}
    there |= {item.key: has[item.name] for item in items if item.name in has}
    return decide(items, Found(there, PLUGINS if plugins is None else plugins), rules)


def kept(xml: str, owner: str = REPOSITORY) -> str:
    """Return the XML as the controller has it after it was applied."""
    root = xml_forms.parse(xml, "x")
    mark = Mark(owner, xml_forms.content_hash(root), xml_forms.state_hash(root))
    return xml_forms.text_of(marked(root, mark))


# What stands in the way


def test_a_child_that_would_be_missing_refuses_everything() -> None:
    changes = decided({"team/all": multijob("one", "two"), "team/one": job_xml()}, {})
    [refusal] = changes.refusals
    assert "team/all names the job team/two" in refusal
    with pytest.raises(ConfigurationError, match="team/two"):
        changes.check()


@pytest.mark.parametrize(
    ("name", "has"), [("two", "team/two"), ("two", "two"), ("/two", "two"), ("other/two", "team/other/two")]
)
def test_a_child_is_looked_for_where_jenkins_looks(name: str, has: str) -> None:
    jobs = {"team/all": multijob(name)}
    assert not decided(jobs, {has: job_xml()}).refusals
    assert decided(jobs, {"elsewhere/two": job_xml()}).refusals


def test_absent_and_old_plugins_are_named_with_both_versions() -> None:
    rules = Rules(
        REPOSITORY, {"jenkins-multijob-plugin": "650.v1"}, [("coverage", "the step recordCoverage")]
    )
    plugins = {"jenkins-multijob-plugin": "630.v80676e0dc658"}
    changes = decided({"all": multijob("one"), "one": job_xml()}, {}, rules, plugins)
    absent, old = changes.refusals
    assert absent == "the step recordCoverage needs the plugin coverage: it isn't installed or isn't active"
    assert old.startswith("the job all needs the plugin jenkins-multijob-plugin 650.v1 or newer: ")
    assert old.endswith("the controller has 630.v80676e0dc658")


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.36", "630.v80676e0dc658"),
        ("2.0.6", "1628.v6d7b"),
        ("2.9", "2.10"),
        ("630.v80676e0dc658", "653.vf60ed3f773d5"),
        ("6.1012.v79a", "6.1053.vd62fb_b_f7367b_"),
    ],
)
def test_plugin_versions_are_ordered_by_their_numbers(older: str, newer: str) -> None:
    assert is_older(older, newer)
    assert not is_older(newer, older)
    assert not is_older(older, older)


def test_a_hash_in_a_version_orders_nothing() -> None:
    assert not is_older("1549.vc8d7", "1549.v1")
    assert not is_older("2.0", "2")


def test_a_job_that_somebody_else_made_is_refused_and_can_be_adopted() -> None:
    jobs, has = {"team/x": job_xml("A")}, {"team/x": job_xml("B")}
    [refusal] = decided(jobs, has).refusals
    assert "team/x exists and wasn't created by covfleet: `--adopt team/x` takes it over" in refusal
    taken = decided(jobs, has, Rules(REPOSITORY, {}, (), ["team/x"]))
    assert not taken.refusals
    assert [each.name for each in taken.pending if each.kind == "job"] == ["team/x"]


def test_a_job_of_another_repository_is_refused() -> None:
    [refusal] = decided(
        {"x": job_xml("A")}, {"x": kept(job_xml("A"), "https://other.example/a.git")}
    ).refusals
    assert "belongs to https://other.example/a.git" in refusal


def test_a_job_of_another_kind_is_refused_even_if_adopted() -> None:
    rules = Rules(REPOSITORY, {}, (), ["x"])
    [refusal] = decided({"x": job_xml("A")}, {"x": folder_xml()}, rules).refusals
    assert "x exists on the controller, but not as a" in refusal


def test_a_job_where_a_folder_should_be_is_refused() -> None:
    [refusal] = decided({"team/x": job_xml("A")}, {"team": job_xml()}).refusals
    assert refusal.startswith("team exists on the controller, but not as a")


def test_adopting_what_is_not_made_is_refused() -> None:
    [refusal] = decided({"x": job_xml("A")}, {}, Rules(REPOSITORY, {}, (), ["y"])).refusals
    assert refusal == "--adopt y: covfleet generates no such job or view, only x"


def test_all_refusals_come_together() -> None:
    jobs = {"all": multijob("gone"), "x": job_xml("A")}
    assert len(decided(jobs, {"x": job_xml()}, plugins={}).refusals) == 3


@pytest.mark.parametrize("xml", ["<project", "", "<!DOCTYPE a [<!ENTITY b 'c'>]><project>&b;</project>"])
def test_a_job_that_cannot_be_read_is_refused(xml: str) -> None:
    [refusal] = decided({"x": job_xml("A")}, {"x": xml}).refusals
    assert "the config.xml of x" in refusal


def test_multi_jobs_in_a_circle_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="cycle: "):
        wanted(Definitions({"a": multijob("b"), "b": multijob("a")}, {}), REPOSITORY)


def test_refusals_write_nothing(normalising: FakeJenkins, covfleet: Covfleet) -> None:
    normalising.jobs["team"] = normalising.jobs["team/cov"] = folder_xml()
    normalising.jobs["team/cov/covfleet-shard"] = job_xml("SHARD")
    normalising.plugins.pop("git")
    before = dict(normalising.jobs)
    status, out, err = covfleet(normalising, "apply")
    assert (status, out) == (2, "")
    assert "--adopt team/cov/covfleet-shard" in err
    assert "needs the plugin git: it isn't installed" in err
    assert normalising.jobs == before
    assert not normalising.posts("/")


# What is compared


def test_an_applied_job_is_unchanged() -> None:
    xml = job_xml("A", command="x")
    assert [each.action for each in decided({"x": xml}, {"x": kept(xml)}).operations] == ["unchanged"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda xml: xml.replace("make", "rm"), "it was changed on the controller"),
        (lambda xml: xml.replace("</builders>", "<b/></builders>"), "it was changed on the controller"),
        (lambda xml: re.sub(r"-[0-9a-f]{12}\]", "]", xml), "an earlier apply was interrupted"),
    ],
)
def test_what_differs_on_the_controller_is_put_right(change: Callable[[str], str], why: str) -> None:
    xml = job_xml("A", command="make")
    [operation] = decided({"x": xml}, {"x": change(kept(xml))}).operations
    assert (operation.action, operation.why) == ("update", why)


def test_settings_that_have_changed_are_an_update() -> None:
    [operation] = decided({"x": job_xml("A", "B")}, {"x": kept(job_xml("A"))}).operations
    assert (operation.action, operation.why) == ("update", "settings or templates have changed")


def test_a_new_description_is_an_update_but_that_of_somebody_else_is_left() -> None:
    xml = job_xml("A").replace("<project>", "<project><description>On 3 shards.</description>")
    assert decided({"x": xml.replace("3", "4")}, {"x": kept(xml)}).pending
    assert not decided({"x": xml}, {"x": kept(xml).replace("On 3", "(Sam:) On 3")}).pending


def test_versions_blanks_and_the_header_of_xml_11_are_no_difference() -> None:
    xml = job_xml("A", command="make")
    has = (
        kept(xml)
        .replace("<project>", '<project plugin="core@2.516">\n  ')
        .replace("version='1.0'", "version='1.1'")
    )
    assert not decided({"x": xml}, {"x": has}).pending


def test_what_a_pipeline_s_own_run_leaves_is_no_difference_but_lost_parameters_are() -> None:
    xml = job_xml("SHARDS", "COMMIT", root="flow-definition")
    ran = kept(xml).replace("<properties>", "<actions><tracked/></actions><properties><DisableConcurrent/>")
    assert not decided({"x": xml}, {"x": ran}).pending
    lost = re.sub("<properties>.*</properties>", "", ran)
    [operation] = decided({"x": xml}, {"x": lost}).operations
    assert operation.why == "it lost its parameters: COMMIT, SHARDS"


def test_a_difference_hides_secrets_and_what_only_the_controller_writes() -> None:
    before = (
        "<project><description>d</description><canRoam>false</canRoam><authToken>hush</authToken></project>"
    )
    shown = Operation("update", "job", "x", "<project><script>make</script></project>", before).difference
    assert "hush" not in shown
    assert "-  <authToken>********</authToken>" in shown
    assert "+  <script>make</script>" in shown
    assert "canRoam" not in shown


def test_hostile_descriptions_are_no_marks() -> None:
    for text in (f"Not Generated by covfleet from {REPOSITORY}: x", "Generated by covfleet from : x", "]]>"):
        root = xml_forms.with_description(xml_forms.parse("<project/>", "x"), text)
        assert mark_of(root) is None, text


def test_marking_twice_leaves_one_mark_and_the_text_before_it() -> None:
    root = xml_forms.with_description(xml_forms.parse("<project/>", "x"), "About <b>it</b> & more")
    once = marked(root, Mark(REPOSITORY, "0" * 12))
    twice = marked(once, Mark(REPOSITORY, "1" * 12, "2" * 12))
    assert mark_of(twice) == Mark(REPOSITORY, "1" * 12, "2" * 12)
    assert xml_forms.description(twice).startswith("About <b>it</b> & more\n\nGenerated by")
    assert xml_forms.description(twice).count("covfleet") == 1


# What is done


def test_children_come_before_their_multi_job_folders_first_and_views_last() -> None:
    jobs = {"a/b/all": multijob("z", "y"), "a/b/z": job_xml(), "a/b/y": multijob("x"), "a/b/x": job_xml()}
    items = wanted(Definitions(jobs, {"a/b/v": "<v/>"}), REPOSITORY)
    names = [item.name for item in items]
    assert names[:2] == ["a", "a/b"]
    assert names[-1] == "a/b/v"
    assert names.index("a/b/x") < names.index("a/b/y") < names.index("a/b/all")
    assert names.index("a/b/z") < names.index("a/b/all")


def test_a_second_apply_changes_nothing_though_the_controller_rewrites_everything(
    normalising: FakeJenkins, covfleet: Covfleet
) -> None:
    status, out, err = covfleet(normalising, "apply")
    assert (status, err) == (0, f"changed 8 of 8 items on {normalising.url}\n")
    assert out.split()[:3] == ["create", "folder", "team"]
    assert set(normalising.views) == {"team/cov/covfleet-jobs"}
    before, normalising.seen = dict(normalising.jobs), []
    status, out, err = covfleet(normalising, "apply")
    assert (status, err) == (0, "no changes\n")
    assert {line.split()[0] for line in out.splitlines()} == {"unchanged"}
    assert normalising.jobs == before
    assert not normalising.posts("/")


def test_a_dry_run_shows_what_it_would_do_and_writes_nothing(
    normalising: FakeJenkins, covfleet: Covfleet
) -> None:
    assert covfleet(normalising, "apply")[0] == 0
    job = "team/cov/covfleet-shard"
    normalising.jobs[job] = normalising.jobs[job].replace("$SHARD", "$OTHER")
    before, normalising.seen = dict(normalising.jobs), []
    for arguments in (("apply", "--dry-run"), ("render", "--diff")):
        status, out, err = covfleet(normalising, *arguments)
        assert (status, err) == (0, "")
        assert f"update     job     {job}  (it was changed on the controller)" in out
        assert re.search(r"^-.*\$OTHER.*\n\+.*\$SHARD", out, re.MULTILINE)
        assert normalising.jobs == before
    assert not normalising.posts("/")
    assert covfleet(normalising, "apply")[2] == f"changed 1 of 8 items on {normalising.url}\n"
    assert "$SHARD" in normalising.jobs[job]


def test_json_names_every_operation(normalising: FakeJenkins, covfleet: Covfleet) -> None:
    status, out, _ = covfleet(normalising, "apply", "--dry-run", "--json")
    said = json.loads(out)
    assert_documented("jenkins apply", said)
    assert (status, said["version"], said["refusals"]) == (0, 1, [])
    assert {row["action"] for row in said["operations"]} == {"create"}
    assert all(row["diff"].startswith("--- /dev/null") for row in said["operations"])


def test_what_an_apply_that_broke_off_left_is_finished_by_the_next(
    normalising: FakeJenkins, covfleet: Covfleet
) -> None:
    normalising.fail("POST", "job/covfleet-shard/config.xml", "500")
    status, _, err = covfleet(normalising, "apply")
    assert status == 6
    assert "covfleet-shard" in err
    assert "team/cov/covfleet-multi" not in normalising.jobs
    status, out, _ = covfleet(normalising, "apply")
    assert status == 0
    assert "update     job     team/cov/covfleet-shard  (an earlier apply was interrupted)" in out
    assert covfleet(normalising, "apply")[2] == "no changes\n"


def test_a_job_that_changes_between_looking_and_writing_is_left_alone(
    normalising: FakeJenkins, controller: JenkinsController
) -> None:
    items = wanted(Definitions({"x": job_xml("A")}, {}), REPOSITORY)
    normalising.jobs["x"] = kept(job_xml("B"))
    changes = decide(items, look(controller, items), OURS)
    normalising.jobs["x"] = kept(job_xml("C"))
    with pytest.raises(JenkinsError, match="x has changed on the controller during the apply"):
        perform(changes, controller, lambda _: None)
    assert ">C<" in normalising.jobs["x"]


def test_a_folder_that_exists_is_used_and_left_as_it_is(normalising: FakeJenkins, covfleet: Covfleet) -> None:
    normalising.jobs["team"] = folder_xml("Somebody else's.")
    assert covfleet(normalising, "apply")[0] == 0
    assert normalising.jobs["team"] == folder_xml("Somebody else's.")


def test_adopting_takes_a_job_over_once(normalising: FakeJenkins, covfleet: Covfleet) -> None:
    normalising.jobs["team"] = normalising.jobs["team/cov"] = folder_xml()
    normalising.jobs["team/cov/covfleet-shard"] = job_xml("SHARD", command="by hand")
    assert covfleet(normalising, "apply")[0] == 2
    status, out, _ = covfleet(normalising, "apply", "--adopt", "team/cov/covfleet-shard")
    assert status == 0
    assert "team/cov/covfleet-shard  (taken over)" in out
    assert "by hand" not in normalising.jobs["team/cov/covfleet-shard"]
    assert covfleet(normalising, "apply")[2] == "no changes\n"


@pytest.mark.parametrize(("lacking", "said"), [("repository", "jenkins.repository"), ("url", "url = ")])
def test_without_a_controller_or_repository_it_says_what_to_set(
    normalising: FakeJenkins, tmp_path: Path, capsys: pytest.CaptureFixture[str], lacking: str, said: str
) -> None:
    settings = {"url": normalising.url, "repository": REPOSITORY}
    lines = [f'{name} = "{value}"' for name, value in settings.items() if name != lacking]
    (tmp_path / "pyproject.toml").write_text("\n".join(["[tool.covfleet.jenkins]", *lines]))
    assert cli.status(["jenkins", "apply", "--project", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_a_user_who_may_not_is_told_which_permission_is_lacking(
    normalising: FakeJenkins, covfleet: Covfleet
) -> None:
    normalising.denied.add("hudson.model.Item.Create")
    status, _, err = covfleet(normalising, "apply")
    assert status == 6
    assert "Job/Create" in err
    assert normalising.token not in err


def test_apply_twice_on_a_controller(place: Place, covfleet: Covfleet) -> None:
    """On a real one its own rewriting is what counts: the second apply changes nothing, a change is seen."""
    if place.fake:
        place.fake.plugins = dict(PLUGINS)
    status, _, err = covfleet(place, "apply")
    assert status == 0, err
    assert covfleet(place, "apply")[2] == "no changes\n"
    job = place.name("covfleet-shard")
    now = place.controller.job_xml(job)
    assert now
    assert place.controller.parameters(place.name("covfleet"))
    place.controller.update_job(job, now.replace("$SHARD", "$OTHER"))
    assert "it was changed on the controller" in covfleet(place, "apply", "--dry-run")[1]
    assert covfleet(place, "apply")[0] == 0
    assert covfleet(place, "apply")[2] == "no changes\n"
