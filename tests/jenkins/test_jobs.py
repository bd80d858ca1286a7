"""The jobs: what the XML of each says, that it reads one way only, and what Jenkins would stumble over."""

from __future__ import annotations

import re
import shlex
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml
from covfleet.errors import ConfigurationError
from covfleet.jenkins.jobs import definitions, job_names, to_xml
from covfleet.jenkins.render import jenkinsfile, render
from covfleet.settings.schema import Settings

FOLDER = "team/coverage/"
PIPELINE, MULTIJOB = f"{FOLDER}covfleet", f"{FOLDER}covfleet-multi"
IMAGE, SHARD, COMBINE = f"{FOLDER}covfleet-image", f"{FOLDER}covfleet-shard", f"{FOLDER}covfleet-combine"
PHASES = "builders/com.tikal.jenkins.plugins.multijob.MultiJobBuilder"
CHILDREN = "phaseJobs/com.tikal.jenkins.plugins.multijob.PhaseJobsConfig"
PROPERTIES = "configs/hudson.plugins.parameterizedtrigger.PredefinedBuildParameters/properties"


def jobs(settings: Settings, project: Path) -> dict[str, ET.Element]:
    return {name: ET.fromstring(xml) for name, xml in definitions(settings, project).jobs.items()}


def declared(job: ET.Element) -> dict[str, str]:
    """Return the parameters that a job declares, with their defaults."""
    found = job.iterfind(".//parameterDefinitions/*")
    return {each.findtext("name") or "": each.findtext("defaultValue") or "" for each in found}


def given(child: ET.Element) -> dict[str, str]:
    """Return the parameters that a phase gives a child."""
    return dict(line.split("=", 1) for line in (child.findtext(PROPERTIES) or "").splitlines())


def commands(job: ET.Element) -> list[str]:
    return [each.findtext("command") or "" for each in job.iterfind("builders/hudson.tasks.Shell")]


def test_a_pipeline_job_and_a_multi_job_with_a_child_for_each_phase(project: Path, load) -> None:
    made = jobs(load(), project)
    assert {name: job.tag for name, job in made.items()} == {
        PIPELINE: "flow-definition",
        MULTIJOB: "com.tikal.jenkins.plugins.multijob.MultiJobProject",
        **dict.fromkeys((IMAGE, SHARD, COMBINE), "project"),
    }


@pytest.mark.parametrize(
    ("drivers", "expected"),
    [(["pipeline"], {PIPELINE}), (["multijob"], {MULTIJOB, IMAGE, SHARD, COMBINE})],
)
def test_only_the_drivers_that_are_wanted(
    project: Path, load, drivers: list[str], expected: set[str]
) -> None:
    made = definitions(load({"jenkins.drivers": drivers}), project)
    assert set(made.jobs) == expected
    [view] = made.views.values()
    assert {each.text for each in ET.fromstring(view).iterfind("jobNames/string")} == {
        name.removeprefix(FOLDER) for name in expected
    }


def test_the_view_lies_in_the_jobs_folder(project: Path, load) -> None:
    [(name, xml)] = definitions(load(), project).views.items()
    assert name == f"{FOLDER}covfleet-jobs"
    assert ET.fromstring(xml).findtext("name") == "covfleet-jobs"


def test_without_a_folder_names_are_short(project: Path, load) -> None:
    assert "covfleet-shard" in definitions(load({"jenkins.folder": ""}), project).jobs
    assert job_names(load({"jenkins.job": "app"}).jenkins).combine.full == f"{FOLDER}app-combine"


def test_without_a_repository_there_are_no_jobs(project: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"jenkins\.repository") as caught:
        definitions(Settings(), project)
    assert "tool.covfleet.jenkins" in caught.value.hint


def test_the_pipeline_job_reads_the_jenkinsfile_of_the_branch(project: Path, load) -> None:
    job = jobs(load({"jenkins.branch": "release/1", "jenkins.git_credentials": "git-key"}), project)[PIPELINE]
    definition = job.find("definition")
    assert definition is not None
    assert definition.findtext("scriptPath") == "Jenkinsfile"
    assert definition.findtext("sandbox") == "true"
    assert definition.findtext(".//hudson.plugins.git.BranchSpec/name") == "refs/heads/release/1"
    assert definition.findtext(".//url") == "https://git.example.org/team/app.git"
    assert definition.findtext(".//credentialsId") == "git-key"
    assert job.find(".//*[@class='hudson.tasks.LogRotator']/numToKeep").text == "50"


def test_the_pipeline_job_declares_the_parameters_of_its_jenkinsfile(project: Path, load) -> None:
    """Or builds can't be started with parameters between an update of the job and its next run."""
    text = jenkinsfile(load(), project)
    block = re.search(r"parameters \{\n(.*?)\n    \}", text, re.DOTALL)
    assert block
    named = re.findall(r"name: '(\w+)',\s+defaultValue: '?(\w*)'?", block[1])
    assert dict(named) == declared(jobs(load(), project)[PIPELINE])
    assert {"SHARDS", "COMMIT", "REPLAN", "REQUEST_ID"} == {name for name, _ in named}


def test_phases_run_image_shards_combine_with_every_condition_named(project: Path, load) -> None:
    """A phase without conditions is a NullPointerException in Jenkins."""
    made = jobs(load(shards=5), project)
    phases = made[MULTIJOB].findall(PHASES)
    assert [
        (
            phase.findtext("phaseName"),
            phase.findtext("continuationCondition"),
            len(phase.findall(CHILDREN)),
        )
        for phase in phases
    ] == [("image", "SUCCESSFUL", 1), ("shards", "ALWAYS", 5), ("combine", "SUCCESSFUL", 1)]
    for phase in phases:
        assert phase.findtext("executionType") == "PARALLEL"
        for child in phase.findall(CHILDREN):
            assert child.findtext("killPhaseOnJobResultCondition") == "NEVER"


def test_every_job_that_the_multi_job_names_is_defined_in_the_same_folder(project: Path, load) -> None:
    """One that is missing would count as a success."""
    made = jobs(load(), project)
    named = {child.findtext(f"{CHILDREN}/jobName") for child in made[MULTIJOB].findall(PHASES)}
    assert {f"{FOLDER}{name}" for name in named} == {IMAGE, SHARD, COMBINE}


def test_children_declare_exactly_the_parameters_that_they_are_given_and_use(project: Path, load) -> None:
    made = jobs(load(), project)
    for phase in made[MULTIJOB].findall(PHASES):
        for child in phase.findall(CHILDREN):
            job = made[FOLDER + (child.findtext("jobName") or "")]
            assert declared(job).keys() == given(child).keys()
            assert job.findtext("concurrentBuild") == "true"
            assert job.findtext(".//hudson.plugins.git.BranchSpec/name") == "${COMMIT}"
            for command in commands(job):
                assert set(re.findall(r"\$\{?(\w+)", command)) <= declared(job).keys()


def test_shards_are_numbered_under_an_alias_each(project: Path, load) -> None:
    shards = jobs(load(shards=12), project)[MULTIJOB].findall(PHASES)[1].findall(CHILDREN)
    assert [shard.findtext("jobAlias") for shard in shards] == [f"shard {k}" for k in range(1, 13)]
    assert [given(shard)["SHARD"] for shard in shards] == [str(k) for k in range(1, 13)]
    assert {given(shard)["BUILD"] for shard in shards} == {"jenkins-${JOB_BASE_NAME}-${BUILD_NUMBER}"}


def test_every_child_calls_covfleet_and_nothing_else(project: Path, load) -> None:
    settings = load({"publish.site": "s3://site/x", "jenkins.covfleet": "'/opt/my tools/covfleet' -v"})
    made = jobs(settings, project)
    stages = []
    for name in (IMAGE, SHARD, COMBINE):
        for command in commands(made[name]):
            words = shlex.split(command)
            assert words[:2] == ["/opt/my tools/covfleet", "-v"]
            assert words[words.index("--build") + 1] == "$BUILD"
            stages.append(words[2])
    assert stages == ["plan", "shard", "combine", "report", "publish", "gate"]


@pytest.mark.parametrize(("executor", "expected"), [("docker", ["image", "plan"]), ("process", ["plan"])])
def test_an_image_is_built_only_for_containers(
    project: Path, load, executor: str, expected: list[str]
) -> None:
    found = commands(jobs(load(executor=executor), project)[IMAGE])
    assert [command.split()[1] for command in found] == expected


@pytest.mark.parametrize(
    ("branch", "expected"), [("origin/main", "main"), ("origin/a b;id", "a b;id"), ("main", "main")]
)
def test_a_shell_gives_hostile_parameters_on_as_single_words(
    project: Path, load, branch: str, expected: str
) -> None:
    [command] = commands(jobs(load({"jenkins.covfleet": "printf '%s|'"}), project)[IMAGE])
    environ = {"BUILD": "$(id)", "BRANCH": branch, "COMMIT": "x", "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(
        ["sh", "-xe", "-c", command], env=environ, capture_output=True, text=True, timeout=20, check=True
    )
    assert ran.stdout == f"plan|--build|$(id)|--branch|{expected}|--shards|3|"


def test_failed_tests_make_a_child_unstable_and_only_the_last_reads_junit(project: Path, load) -> None:
    made = jobs(load(), project)
    for name in (IMAGE, SHARD, COMBINE):
        for step in made[name].iterfind("builders/hudson.tasks.Shell"):
            assert step.findtext("unstableReturn") == "3"
    reading = [
        name
        for name, job in made.items()
        if job.find(".//hudson.tasks.junit.JUnitResultArchiver") is not None
    ]
    assert reading == [COMBINE]


def test_the_multi_job_waits_on_other_agents_than_its_children(project: Path, load) -> None:
    """It holds an executor all the time: on the children's own agents it could wait for itself."""
    made = jobs(load(), project)
    assert made[MULTIJOB].findtext("assignedNode") == "covfleet"
    assert {made[name].findtext("assignedNode") for name in (IMAGE, SHARD, COMBINE)} == {"covfleet-shard"}


def test_credentials_are_named_by_id_in_children_and_nowhere_else(project: Path, load) -> None:
    made = definitions(load({"jenkins.credentials": "aws-keys"}), project).jobs
    for name in (IMAGE, SHARD, COMBINE):
        binding = ET.fromstring(made[name]).find(".//bindings/*")
        assert binding is not None
        assert binding.findtext("credentialsId") == "aws-keys"
    assert "aws-keys" not in made[MULTIJOB] + made[PIPELINE]
    assert "aws-keys" not in str([commands(ET.fromstring(xml)) for xml in made.values()])
    for xml in definitions(load(), project).jobs.values():
        assert "SecretBuildWrapper" not in xml


def test_no_other_user_of_job_builder_takes_the_jobs_for_old_ones_of_its_own(project: Path, load) -> None:
    made = definitions(load(), project)
    for xml in (*made.jobs.values(), *made.views.values()):
        assert "Managed by Jenkins Job Builder" not in xml


def test_hostile_settings_reach_the_xml_as_they_are(project: Path, load) -> None:
    """What passes the settings' checks and still means something to YAML, XML or Job Builder."""
    settings = load(
        {
            "jenkins.branch": "a'b\"c<d>&e{f}{{g}}#h!i%41",
            "jenkins.folder": "A 'quoted' {folder}, with \"marks\"",
            "jenkins.repository": "https://example.org/a&b;c=%22,{d}#e.git",
        }
    )
    made = jobs(settings, project)
    job = made[f"{settings.jenkins.folder}/covfleet"]
    assert job.findtext(".//hudson.plugins.git.BranchSpec/name") == f"refs/heads/{settings.jenkins.branch}"
    assert job.findtext(".//url") == settings.jenkins.repository
    assert declared(made[f"{settings.jenkins.folder}/covfleet-multi"])["COMMIT"].endswith(
        settings.jenkins.branch
    )


def test_the_yaml_is_plain_yaml_for_job_builders_own_command(project: Path, load) -> None:
    text = next(file.text for file in render(load(), project) if file.path.endswith("jobs.yaml"))
    assert text
    assert [next(iter(item)) for item in yaml.safe_load(text)] == ["job"] * 5 + ["view"]
    assert max(len(line) for line in text.splitlines()) < 300


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- job:\n    name: x\n    scm: [{git: {url: '{gone}'}}]\n", "gone"),
        ("- job:\n    name: x\n    builders: [{nosuchbuilder: {}}]\n", "nosuchbuilder"),
        ("- job:\n    name: [\n", "expected"),
        ("job: x\n", "must be a list"),
        ("- job:\n    nme: x\n", "name"),
    ],
)
def test_what_job_builder_refuses_is_told(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        to_xml(text)
    assert "jobs.yaml.j2" in caught.value.hint
