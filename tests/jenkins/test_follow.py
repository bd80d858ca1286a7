"""Following a build to its end: through the queue, restarts, broken answers; and what a human sees of it."""

from __future__ import annotations

import io
import re
import signal
import subprocess
from pathlib import Path

import pytest
from covfleet.adapters.clock import SystemClock
from covfleet.adapters.folder.store import LocalStore
from covfleet.adapters.jenkins.controller import JenkinsController
from covfleet.errors import InterruptedRunError, JenkinsError, JenkinsUnavailableError
from covfleet.jenkins.display import News, Screen
from covfleet.jenkins.follow import Follower, Moment
from covfleet.jenkins.quoting import groovy
from covfleet.jenkins.stored import Watched, build_of, names
from covfleet.jenkins.trigger import TriggeredBuild, new_request, start
from covfleet.model import Heartbeat
from covfleet.ports.controller import Build, Stage, SubBuild
from covfleet.store.encoding import to_json
from covfleet.store.keys import BuildKeys
from covfleet.store.status import BuildStatus, ShardStatus
from rich.console import Console
from support.builds import make_plan
from support.controllers import HandClock, Place
from support.fake_jenkins import MULTIJOB, PIPELINE, FakeJenkins, Script, Step, job_xml
from support.jenkinsfiles import groovy_environment
from support.processes import start_covfleet, wait_for

JOB = job_xml("SHARDS", "COMMIT", "REQUEST_ID", root=PIPELINE)
PARAMETERS = {"REQUEST_ID": "r1"}
TEMPLATES = Path(__file__).parents[2] / "templates" / "jenkins"


class Recorder:
    """A display that remembers what it was shown."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.lines: list[str] = []
        self.text = ""

    def show(self, moment: Moment) -> None:
        self.moments.append(moment)

    def say(self, line: str) -> None:
        self.lines.append(line)

    def console(self, text: str) -> None:
        self.text += text


@pytest.fixture
def controller(jenkins: FakeJenkins) -> JenkinsController:
    jenkins.jobs["covfleet"] = JOB
    return JenkinsController(jenkins.url, jenkins.user, jenkins.token, timeout_s=1)


@pytest.fixture
def display() -> Recorder:
    return Recorder()


def follower(controller: JenkinsController, display: Recorder, clock: HandClock, **more: bool) -> Follower:
    return Follower(controller, clock, display, "covfleet", "r1", lambda _build: None, **more)


def lines(number: int) -> Script:
    """A build that writes so many lines, one at each look."""
    return Script(tuple(Step(f"line {n}\n") for n in range(1, number + 1)))


def test_a_build_is_followed_from_the_queue_to_its_end(place: Place, display: Recorder) -> None:
    job = place.name("covfleet")
    place.controller.create_job(job, job_xml("REQUEST_ID", command="echo one; sleep 1; echo two"))
    clock = HandClock() if place.fake else SystemClock()
    request = new_request(job, {})
    where = start(place.controller, clock, request, display.say)
    watch = Follower(
        place.controller, clock, display, job, request.id, lambda _build: None, show_console=True
    )
    build = watch.follow(where)
    assert (build.result, build.building) == ("SUCCESS", False)
    assert re.search(r"one\n(.*\n)*two\n", display.text)
    assert not display.lines


def test_the_queue_is_shown_with_reason_and_position(
    controller: JenkinsController, jenkins: FakeJenkins, display: Recorder
) -> None:
    jenkins.jobs["other"] = JOB
    controller.trigger("other", {"REQUEST_ID": "theirs"})
    number = controller.trigger("covfleet", PARAMETERS)
    controller.trigger("other", {"REQUEST_ID": "later"})
    follower(controller, display, HandClock()).follow(TriggeredBuild(queue_item=number))
    waits = [moment for moment in display.moments if moment.build is None]
    assert {(moment.waits_for, moment.before_it) for moment in waits} == {
        ("Waiting for next available executor on covfleet", 1)
    }


def test_a_queue_item_that_the_controller_has_forgotten_is_found_as_a_build(
    controller: JenkinsController, jenkins: FakeJenkins, display: Recorder
) -> None:
    number = controller.trigger("covfleet", PARAMETERS)
    jenkins.begin(jenkins.items[number])
    jenkins.items[number].forgotten = True
    build = follower(controller, display, HandClock()).follow(TriggeredBuild(queue_item=number))
    assert (build.number, build.result) == (1, "SUCCESS")


def test_a_queue_item_whose_number_was_given_again_is_not_taken_for_ours(
    controller: JenkinsController, jenkins: FakeJenkins, display: Recorder
) -> None:
    theirs = controller.trigger("covfleet", {"REQUEST_ID": "theirs"})
    ours = controller.trigger("covfleet", PARAMETERS)
    jenkins.looks = 0
    build = follower(controller, display, HandClock()).follow(TriggeredBuild(queue_item=theirs))
    assert build.queue_id == ours


def test_a_request_that_was_cancelled_is_told(
    controller: JenkinsController, jenkins: FakeJenkins, display: Recorder
) -> None:
    number = controller.trigger("covfleet", PARAMETERS)
    jenkins.items[number].cancelled = True
    with pytest.raises(InterruptedRunError, match="removed from the queue"):
        follower(controller, display, HandClock()).follow(TriggeredBuild(queue_item=number))


def test_a_request_that_is_nowhere_is_told(
    controller: JenkinsController, jenkins: FakeJenkins, display: Recorder
) -> None:
    number = controller.trigger("covfleet", PARAMETERS)
    jenkins.items.clear()
    clock = HandClock()
    with pytest.raises(JenkinsError, match="no longer in the queue nor among the builds") as raised:
        follower(controller, display, clock).follow(TriggeredBuild(queue_item=number))
    assert "covfleet jenkins run" in raised.value.hint
    assert clock.sleeps < 20


def test_a_restart_in_the_middle_loses_and_repeats_nothing(
    controller: JenkinsController, jenkins: FakeJenkins, display: Recorder
) -> None:
    def up() -> None:
        jenkins.start()
        jenkins.fail("GET", "", "503", times=3)

    jenkins.looks = 0
    jenkins.scripts["covfleet"] = lines(8)
    number = controller.trigger("covfleet", PARAMETERS)
    clock = HandClock(*[lambda: None] * 3, jenkins.stop, lambda: None, up)
    build = follower(controller, display, clock, show_console=True).follow(TriggeredBuild(queue_item=number))
    assert build.result == "SUCCESS"
    assert display.text == "".join(f"line {n}\n" for n in range(1, 9))
    assert "waiting for the controller to come back" in display.lines[0]
    assert display.lines[-1] == "the controller is back"


BREAKS = ("short", "drop", "500", "503")


@pytest.mark.parametrize(
    ("path", "how"),
    [
        *((path, how) for path in ("/queue/item/", "/covfleet/1/api", "/wfapi/") for how in (*BREAKS, "cut")),
        *(("/progressiveText", how) for how in BREAKS),
    ],
)
def test_an_answer_that_broke_is_asked_for_again(
    controller: JenkinsController, jenkins: FakeJenkins, display: Recorder, how: str, path: str
) -> None:
    jenkins.looks = 0
    jenkins.scripts["covfleet"] = lines(4)
    number = controller.trigger("covfleet", PARAMETERS)
    jenkins.fail("GET", path, how, times=2)
    build = follower(controller, display, HandClock(), show_console=True).follow(
        TriggeredBuild(queue_item=number)
    )
    assert build.result == "SUCCESS"
    assert display.text == "line 1\nline 2\nline 3\nline 4\n"


def test_a_login_that_ends_in_the_middle_is_told(
    controller: JenkinsController, jenkins: FakeJenkins, display: Recorder
) -> None:
    number = controller.trigger("covfleet", PARAMETERS)
    jenkins.fail("GET", "/covfleet/1/api", "401")
    with pytest.raises(JenkinsError, match="401"):
        follower(controller, display, HandClock()).follow(TriggeredBuild(queue_item=number))


def test_a_build_that_was_deleted_is_told(
    controller: JenkinsController, jenkins: FakeJenkins, display: Recorder
) -> None:
    jenkins.looks = 0
    number = controller.trigger("covfleet", PARAMETERS)
    clock = HandClock(jenkins.builds.clear)
    with pytest.raises(JenkinsError, match="covfleet #1 is gone"):
        follower(controller, display, clock).follow(TriggeredBuild(queue_item=number))


def test_a_controller_that_does_not_come_back_ends_the_watch(
    controller: JenkinsController, jenkins: FakeJenkins, display: Recorder
) -> None:
    number = controller.trigger("covfleet", PARAMETERS)
    jenkins.fail("GET", "", "503", times=100_000)
    clock = HandClock()
    with pytest.raises(JenkinsUnavailableError):
        follower(controller, display, clock).follow(TriggeredBuild(queue_item=number))
    assert 600 < clock.seconds - 1000 < 1800
    assert len(display.lines) == 1


def test_a_console_that_lost_its_end_in_a_crash_is_not_shown_twice(
    controller: JenkinsController, jenkins: FakeJenkins, display: Recorder
) -> None:
    jenkins.looks = 0
    jenkins.scripts["covfleet"] = lines(5)
    number = controller.trigger("covfleet", PARAMETERS)

    def lose() -> None:
        jenkins.builds["covfleet"][0].console = "line 1\n"

    clock = HandClock(lambda: None, lambda: None, lose)
    follower(controller, display, clock, show_console=True).follow(TriggeredBuild(queue_item=number))
    assert display.text.count("line 1\n") == 1
    assert display.text.endswith("line 5\n")


def test_a_multi_job_s_failure_is_read_from_the_child_that_failed(
    controller: JenkinsController, jenkins: FakeJenkins, display: Recorder
) -> None:
    jenkins.jobs["covfleet"] = job_xml("REQUEST_ID", root=MULTIJOB)
    jenkins.jobs["child"] = job_xml("A")
    jenkins.looks = 0
    jenkins.scripts["child"] = Script((Step("covfleet combine ended with exit code 5\n"),), "FAILURE")
    controller.queue_item(controller.trigger("child", {"A": "1"}))
    controller.build("child", 1)
    sub = {"jobName": "child", "buildNumber": 1, "result": "FAILURE", "url": "job/child/1/"}
    jenkins.scripts["covfleet"] = Script((Step("one\n", sub_builds=(sub,)),), "FAILURE")
    watch = follower(controller, display, HandClock())
    build = watch.follow(TriggeredBuild(queue_item=controller.trigger("covfleet", PARAMETERS)))
    assert watch.failure_code(build) == 5


def test_a_failure_that_no_console_explains_has_no_code(
    controller: JenkinsController, jenkins: FakeJenkins, display: Recorder
) -> None:
    jenkins.scripts["covfleet"] = Script((Step("java.lang.NullPointerException\n"),), "FAILURE")
    watch = follower(controller, display, HandClock(), show_console=True)
    build = watch.follow(TriggeredBuild(queue_item=controller.trigger("covfleet", PARAMETERS)))
    assert watch.failure_code(build) is None


# Its shards, in the store


def a_build(job: str = "team/covfleet", number: int = 17, **more: object) -> Build:
    fields = {"url": "https://ci/x/", "queue_id": 1, "building": True, "result": "", "duration_s": 0.0}
    return Build(
        job, number, started_at=HandClock().now(), estimated_s=60.0, **{**fields, "commit": "ab" * 20, **more}
    )  # type: ignore[arg-type]


def test_shards_are_read_from_the_store_under_the_build_s_name(tmp_path: Path, display: Recorder) -> None:
    store, clock, build = LocalStore(tmp_path), HandClock(), a_build()
    watched = Watched(store, clock, display.say)
    assert watched.status(build) is None
    keys = BuildKeys("ab" * 20, "jenkins-team-covfleet-17")
    plan = make_plan({"1": ("t.py::a", "t.py::b")}, shards=1, commit=keys.commit, build=keys.build)
    store.put(keys.plan, to_json(plan))
    store.put(keys.shard(1), to_json(Heartbeat(1, "x", 3, "running", tests_done=1)))
    clock.sleep(2)
    status = watched.status(build)
    assert status
    assert (status.tests, status.done, len(status.shards)) == (2, 1, 1)
    assert not display.lines


def test_a_replanned_build_is_found_by_its_newest_plan(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for name in ("jenkins-team-covfleet-17-1763900000000", "jenkins-team-covfleet-17-1763900009999"):
        store.put(BuildKeys("ab" * 20, name).plan, b"{}")
    for name in ("jenkins-team-covfleet-171", "jenkins-team-covfleet-17-9"):
        store.put(BuildKeys("ab" * 20, name).plan, b"{}")
    found = build_of(store, a_build())
    assert found
    assert found.name == "jenkins-team-covfleet-17-1763900009999"


def test_a_store_that_cannot_be_read_is_told_once(tmp_path: Path, display: Recorder) -> None:
    store, clock = LocalStore(tmp_path), HandClock()
    keys = BuildKeys("ab" * 20, "jenkins-team-covfleet-17")
    store.put(keys.plan, b"damaged")
    watched = Watched(store, clock, display.say)
    for _ in range(5):
        assert watched.status(a_build()) is None
        clock.sleep(10)
    assert len(display.lines) == 1


def test_before_a_commit_is_known_nothing_is_looked_for(tmp_path: Path) -> None:
    assert build_of(LocalStore(tmp_path), a_build(commit="")) is None


def test_a_build_is_called_what_the_jenkinsfile_calls_it() -> None:
    jobs = ["covfleet", "team one/covfleet", "a.b_c/päd/" + 90 * "x" + "/covfleet", "covfleet/f%2Fx"]
    tags = [f"jenkins-{job}-{number}".replace("/", "-") for number, job in enumerate(jobs, 7)]  # BUILD_TAG
    template = (TEMPLATES / "Jenkinsfile.j2").read_text("utf-8")
    function = re.search(r"^String newBuild\(\) \{.*?^\}", template, re.MULTILINE | re.DOTALL)
    assert function
    listed = ", ".join(map(groovy, tags))
    calls = f"params = [REPLAN: false]\n[{listed}].each {{ env = [BUILD_TAG: it]; println newBuild() }}"
    done = subprocess.run(
        ["groovy", "-e", f"{function[0]}\n{calls}"],
        env=groovy_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [next(names(a_build(job, n))) for n, job in enumerate(jobs, 7)]


# What a human sees


STAGES = (
    Stage("Plan", "SUCCESS", HandClock().now(), 12.0),
    Stage("Tests", "IN_PROGRESS", HandClock().now(), 65.0),
)
SHARDS = BuildStatus(
    10, 5, 2, (ShardStatus(1, 5, Heartbeat(1, "x", 1, "running", tests_done=4, tests_failed=1)),)
)


def test_what_happened_is_told_once() -> None:
    news = News()
    build = a_build(sub_builds=(SubBuild("team/shard", "shard 1", "shards", 4, "FAILURE"),))
    moments = [
        Moment(waits_for="Waiting for an executor", before_it=2),
        Moment(waits_for="Waiting for an executor", before_it=1),
        Moment(build=build, stages=STAGES),
        Moment(build=build, stages=STAGES),
        Moment(build=a_build(building=False, result="UNSTABLE", duration_s=83.0)),
    ]
    told = [line.plain for moment in moments for line in news.lines(moment)]
    assert told == [
        "in the queue (2 before it): Waiting for an executor",
        "team/covfleet #17 is running: https://ci/x/",
        "Plan: SUCCESS, 12 s",
        "shards, shard 1: FAILURE",
        "team/covfleet #17 ended: UNSTABLE, 1 min 23 s",
    ]


def test_a_terminal_shows_stage_and_shards_live_and_the_console_above() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    console = Console(file=Terminal(), force_terminal=True, width=100, height=40)
    with Screen(console, Terminal()) as screen:
        screen.show(Moment(build=a_build(), stages=STAGES, shards=SHARDS))
        screen.console("half a li")
        screen.console("ne\n\x1b[31mred\x1b[0m \x1b]0;title\x07and\nno end")
        screen._live.refresh()
        shown = console.file.getvalue()
    assert "Tests" in shown
    assert "shard 1" in shown
    assert "4/5" in shown
    assert "1 failed" in shown
    assert "half a line" in shown
    assert "\x1b]0;" not in shown
    assert "no end" not in shown
    assert "no end" in console.file.getvalue()


def test_more_shards_than_lines_leave_room_for_all_together() -> None:
    beat = Heartbeat(1, "x", 1, "running", tests_done=1)
    shards = tuple(ShardStatus(k, 5, beat) for k in range(1, 201))
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=20)
    with Screen(console, io.StringIO()) as screen:
        screen.show(Moment(build=a_build(), shards=BuildStatus(1000, 200, 0, shards)))
        shown = Console(file=io.StringIO(), width=100)
        shown.print(screen._render())
    text = shown.file.getvalue()
    assert len(text.splitlines()) <= 20
    assert "200/1000" in text
    assert "shard 1 " in text


def test_without_a_terminal_there_are_plain_lines_and_the_console_as_it_is() -> None:
    file, out = io.StringIO(), io.StringIO()
    with Screen(Console(file=file, width=60), out) as screen:
        screen.show(Moment(waits_for="a\x1b[2Jb"))
        screen.show(Moment(build=a_build(), stages=STAGES, shards=SHARDS))
        screen.console("no end")
    assert out.getvalue() == "no end"
    assert "\x1b" not in file.getvalue()
    assert "4/10 tests, 1 failed" in file.getvalue()


# The command


def test_an_interrupt_leaves_the_build_running_and_says_how_to_go_on(
    tmp_path: Path, jenkins: FakeJenkins
) -> None:
    jenkins.jobs["covfleet"] = JOB
    jenkins.scripts["covfleet"] = Script((Step("still at it\n"),) * 10_000)
    jenkins.looks = 0
    log = tmp_path / "log"
    project = ("--project", tmp_path)
    environment = {"COVFLEET_JENKINS__URL": jenkins.url, **jenkins.environment}
    process = start_covfleet("jenkins", "run", "--console", *project, log=log, **environment)
    try:
        wait_for(lambda: "still at it" in log.read_text(), "the console")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        process.kill()
        process.wait(timeout=30)
    assert f"covfleet jenkins follow {jenkins.items[1].parameters['REQUEST_ID']}" in log.read_text()
    assert jenkins.builds["covfleet"][0].building
    assert not jenkins.posts("/stop")
