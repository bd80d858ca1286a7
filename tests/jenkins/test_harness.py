"""The harness that executes Jenkinsfiles: what it refuses, and that steps end builds as Jenkins' own do."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from support.jenkinsfiles import Ended, Job


def stages(*bodies: str) -> str:
    """Return a pipeline with a stage for each of these bodies, which run without an agent."""
    written = [
        f"stage('{name}') {{\nsteps {{\nscript {{\n{textwrap.dedent(body)}\n}}\n}}\n}}"
        for name, body in zip("ABCDEF", bodies, strict=False)
    ]
    return "pipeline {\nagent none\nstages {\n" + "\n".join(written) + "\n}\n}\n"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def lines(ended: Ended) -> list[str]:
    return ended.log.splitlines()


REFUSED = {
    "no such DSL method: nosuchstep": stages("nosuchstep 'x'"),
    "no such property: Jenkins": stages("echo Jenkins.instance"),
    "sh has no returnCode": stages("node('covfleet') { sh(script: 'true', returnCode: true) }"),
    "no agent has the label elsewhere": stages("node('elsewhere') { }"),
    "pipeline has no directive triggers": "pipeline {\nagent none\ntriggers {\n}\n}",
    "options has no directive ansiColour": "pipeline {\nagent none\noptions {\nansiColour('x')\n}\n}",
    "two stages are called A": stages("echo '1'").replace(
        "stages {\n", "stages {\nstage('A') {\nsteps {\necho '1'\n}\n}\n"
    ),
    "only script blocks may hold Groovy": stages("").replace("script {\n\n}", "def x = 1"),
    "two directives on one line": "pipeline { agent none; stages { stage('A') { steps { echo 'x' } } } }",
    "steps is empty": "pipeline {\nagent none\nstages {\nstage('A') {\nsteps {\n}\n}\n}\n}",
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_it_does_not_know_is_refused(job: Job, message: str) -> None:
    ran, _ = job.try_build(REFUSED[message])
    assert ran.returncode == 2
    assert message in ran.stderr


def test_an_error_skips_the_stages_that_follow_and_an_unstable_step_does_not(job: Job) -> None:
    ended = job.build(stages("unstable('so so')", "error('no')", "echo 'never'"))
    assert [stage["status"] for stage in ended.facts["stages"]] == ["DONE", "Abort", "SKIPPED"]
    assert ended.result == "FAILURE"
    assert "never" not in ended.log


def test_errors_are_caught_with_the_results_that_were_asked_for(job: Job) -> None:
    caught = "catchError(buildResult: '{}') {{ error('no') }}\necho currentBuild.currentResult"
    asked_for = ("SUCCESS", "UNSTABLE", "FAILURE", "SUCCESS")
    ended = job.build(stages(*(caught.format(result) for result in asked_for)))
    shown = [line for line in lines(ended) if line.removeprefix("[] ") in {"SUCCESS", "UNSTABLE", "FAILURE"}]
    assert shown == ["[] SUCCESS", "[] UNSTABLE", "[] FAILURE", "[] FAILURE"]


def test_branches_run_at_once_and_only_fail_fast_stops_the_others(job: Job) -> None:
    meet = "node('covfleet') {{ sh 'touch ../../../{}; until [ -e ../../../{} ]; do sleep 0.1; done' }}"
    meeting = f"parallel(one: {{ {meet.format(1, 2)} }}, two: {{ {meet.format(2, 1)} }})"
    slow = "node('covfleet') { sh 'sleep 1; echo slow ended' }"
    stopped = "node('covfleet') { sh 'sleep 60; echo never' }"
    ended = job.build(
        stages(
            meeting,
            f"catchError(buildResult: 'UNSTABLE') {{ parallel(bad: {{ error('no') }}, slow: {{ {slow} }}) }}",
            f"parallel(failFast: true, bad: {{ error('stop') }}, other: {{ {stopped} }})",
        )
    )
    assert ended.result == "FAILURE"
    assert "[slow] slow ended" in lines(ended)
    assert "[other] never" not in lines(ended)


def test_a_time_limit_kills_the_command(job: Job) -> None:
    limited = "timeout(time: 1, unit: 'SECONDS') { sh 'sleep 60' }"
    ended = job.build(stages(f"node('covfleet') {{ {limited} }}", "echo 'x'"))
    assert ended.result == "ABORTED"
    assert ended.facts["stages"][1]["status"] == "SKIPPED"


def test_secrets_are_hidden_and_counted_and_end_with_their_block(job: Job) -> None:
    job.credentials = {"k": {"access_key": "a-key", "secret_key": "s-key"}}
    bound = "withCredentials([aws(credentialsId: 'k', accessKeyVariable: 'A', secretKeyVariable: 'S')])"
    ended = job.build(stages(f"node('covfleet') {{ {bound} {{ sh 'echo $S' }}\nsh 'echo after:$S:' }}"))
    assert "s-key" not in ended.log
    assert "after::" in ended.log
    assert ended.facts["masked_lines"] > 0


def test_a_lost_agent_is_tried_again_only_as_often_as_asked(job: Job) -> None:
    order = "pwd > ../../../../kill/x; mv ../../../../kill/x ../../../../kill/x.now; sleep 60"
    twice = "retry(count: 2, conditions: [agent(), nonresumable()])"
    ended = job.build(stages(f"{twice} {{ node('covfleet') {{ sh '{order}' }} }}"))
    assert ended.facts["stages"][0]["status"] == "AgentLost"
    assert len({agent["name"] for agent in ended.facts["agents"]}) == 2
    assert ended.result == "FAILURE"


def test_other_errors_are_not_tried_again(job: Job) -> None:
    ended = job.build(stages("retry(count: 2, conditions: [agent()]) { echo 'once'\nerror('no') }"))
    assert [line for line in lines(ended) if line.endswith("once")] == ["[] once"]


def test_what_comes_after_a_stage_runs_by_how_it_ended(job: Job) -> None:
    post = "post {\nalways {\necho 'always'\n}\nsuccess {\necho 'success'\n}\nfailure {\necho 'failure'\n}\n}"
    pipeline = stages("error('no')").replace("}\n}\n}\n}\n}\n", "}\n}\n" + post + "\n}\n}\n}\n")
    said = [line.removeprefix("[] ") for line in lines(job.build(pipeline))]
    assert [word for word in ("always", "success", "failure") if word in said] == ["always", "failure"]


def test_tests_and_coverage_must_be_there_and_well_formed(job: Job) -> None:
    write = "node('covfleet') {{ writeIt('{}')\n{} }}"
    functions = "\nvoid writeIt(String text) { sh \"printf '%s' '${text}' > r.xml\" }\n"
    failing = '<testsuite><testcase classname="a" name="b"><failure/></testcase></testsuite>'
    coverage = '<coverage line-rate="0.5" branch-rate="0"/>'
    record = "recordCoverage(tools: [[parser: 'COBERTURA', pattern: 'r.xml']])"
    bodies = (
        write.format(failing, "junit(testResults: 'r.xml')\necho currentBuild.currentResult"),
        write.format(coverage, record),
        "catchError(buildResult: 'UNSTABLE') { node('covfleet') { junit(testResults: 'none.xml') } }",
        write.format("<html", record),
    )
    ended = job.build(stages(*bodies) + functions)
    assert ended.facts["tests"] == [{"total": 1, "failed": ["a::b"]}]
    assert ended.facts["coverage"][0]["line_rate"] == "0.5"
    assert "No test report files were found" in ended.log
    assert "[] UNSTABLE" in lines(ended)
    assert ended.result == "FAILURE"  # of the last stage: that isn't XML
