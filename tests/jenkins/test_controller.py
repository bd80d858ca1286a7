"""The controller's port over python-jenkins: one contract for a fake and a real one, and what goes wrong."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3.util.connection
from covfleet.adapters.jenkins.controller import JenkinsController, open_controller
from covfleet.adapters.jenkins.errors import NotJenkinsError
from covfleet.adapters.jenkins.json_forms import read_build
from covfleet.errors import (
    ConfigurationError,
    JenkinsError,
    JenkinsNotFoundError,
    JenkinsUnavailableError,
    PipelineError,
)
from covfleet.ports.controller import Build
from support.controllers import Place
from support.fake_jenkins import MULTIJOB, PLUGINS, FakeJenkins, Script, Step, folder_xml, job_xml
from support.processes import wait_for

VIEW = (
    "<hudson.model.ListView><name>{name}</name><jobNames>"
    '<comparator class="hudson.util.CaseInsensitiveComparator"/></jobNames></hudson.model.ListView>'
)
ECHO = job_xml("REQUEST_ID", "SHARDS", command="echo shards: $SHARDS; sleep 1; echo the end")


@pytest.fixture
def controller(jenkins: FakeJenkins) -> JenkinsController:
    return JenkinsController(jenkins.url, jenkins.user, jenkins.token, timeout_s=1)


def finished(place: Place, job: str, queue_item: int) -> Build:
    """Wait for the build of an item of the queue."""
    found: list[Build] = []

    def ended() -> bool:
        item = place.controller.queue_item(queue_item)
        assert item
        build = place.controller.build(job, item.build) if item.build else None
        if build and not build.building:
            found.append(build)
        return bool(found)

    wait_for(ended, f"a build of {job}", 120)
    return found[0]


# The contract


def test_jobs_are_created_read_and_replaced(place: Place) -> None:
    job = place.name("a jöb + more")
    assert place.controller.job_xml(job) is None
    place.controller.create_job(job, job_xml("SHARDS", command="echo übermäßig € 🦄"))
    created = place.controller.job_xml(job)
    assert created
    assert "übermäßig €" in created
    assert place.controller.parameters(job) == ("SHARDS",)
    place.controller.update_job(job, job_xml("SHARDS", "COMMIT"))
    assert place.controller.parameters(job) == ("SHARDS", "COMMIT")


def test_a_job_that_exists_is_not_created_again(place: Place) -> None:
    place.controller.create_job(place.name("x"), job_xml("SHARDS"))
    with pytest.raises(JenkinsError, match="exists"):
        place.controller.create_job(place.name("x"), job_xml("COMMIT"))
    assert place.controller.parameters(place.name("x")) == ("SHARDS",)


def test_a_job_needs_its_folder(place: Place) -> None:
    with pytest.raises(JenkinsError, match="folder"):
        place.controller.create_job(place.name("nowhere/x"), job_xml("SHARDS"))


def test_folders_hold_folders_jobs_and_views(place: Place) -> None:
    for name, xml in (
        ("inner", folder_xml("one")),
        ("inner/job", folder_xml()),
        ("inner/job/x", job_xml("A")),
    ):
        place.controller.create_job(place.name(name), xml)
    assert place.controller.parameters(place.name("inner/job/x")) == ("A",)
    view = place.name("inner/ours")
    assert place.controller.view_xml(view) is None
    place.controller.create_view(view, VIEW.format(name="ours"))
    assert "ListView" in (place.controller.view_xml(view) or "")
    place.controller.update_view(view, VIEW.format(name="ours"))


def test_what_is_not_there_is_told(place: Place) -> None:
    ghost = place.name("ghost")
    with pytest.raises(JenkinsNotFoundError):
        place.controller.update_job(ghost, job_xml("A"))
    with pytest.raises(JenkinsNotFoundError):
        place.controller.parameters(ghost)
    with pytest.raises(JenkinsNotFoundError):
        place.controller.builds(ghost, 5)
    with pytest.raises(JenkinsNotFoundError):
        place.controller.console(ghost, 1, 0)
    with pytest.raises(JenkinsNotFoundError):
        place.controller.trigger(ghost, {"A": "1"})
    assert place.controller.build(ghost, 1) is None
    assert place.controller.stages(ghost, 1) == ()
    assert place.controller.queue_item(2_000_000_000) is None


def test_version_and_plugins_are_known(place: Place) -> None:
    assert place.controller.version().split(".")[0] == "2"
    plugins = place.controller.plugins()
    assert plugins
    assert all(name and version[0].isdigit() for name, version in plugins.items())


def test_the_validator_finds_a_file_sound_or_says_what_is_wrong(place: Place) -> None:
    sound = "pipeline { agent any; stages { stage('a') { steps { echo 'b' } } } }".replace("; ", "\n")
    assert place.controller.validate(sound) == ""
    assert "pipeline" in place.controller.validate("node { echo 'b' }")


def test_a_build_goes_from_the_queue_to_its_end(place: Place) -> None:
    job = place.name("echo")
    place.controller.create_job(job, ECHO)
    if place.fake:
        steps = (Step("shards: 7\n"), Step("the end\n"))
        place.fake.scripts[job] = Script(steps)
    number = place.controller.trigger(job, {"REQUEST_ID": "one", "SHARDS": "7"})
    item = place.controller.queue_item(number)
    assert item
    assert (item.job, item.parameters["REQUEST_ID"]) == (job, "one")
    build = finished(place, job, number)
    assert (build.result, build.job, build.queue_id) == ("SUCCESS", job, number)
    assert build.parameters == {"REQUEST_ID": "one", "SHARDS": "7"}
    assert build.duration_s > 0
    assert [each.number for each in place.controller.builds(job, 5)] == [build.number]
    console = place.controller.console(job, build.number, 0)
    assert "shards: 7" in console.text
    assert not console.more
    again = place.controller.console(job, build.number, console.offset)
    assert (again.text, again.offset) == ("", console.offset)
    assert place.controller.console(job, build.number, console.offset + 1000).text == ""


def test_two_requests_that_wait_with_the_same_parameters_are_one(place: Place) -> None:
    """A request that is repeated while the first one waits is no second build."""
    job = place.name("waits")
    quiet = ECHO.replace("<project>", "<project><quietPeriod>3600</quietPeriod>")
    place.controller.create_job(job, quiet)
    first = place.controller.trigger(job, {"REQUEST_ID": "same"})
    assert place.controller.trigger(job, {"REQUEST_ID": "same"}) == first
    assert place.controller.trigger(job, {"REQUEST_ID": "other"}) != first
    waiting = {item.id: item for item in place.controller.queue() if item.job == job}
    assert waiting[first].parameters["REQUEST_ID"] == "same"
    assert waiting[first].build is None


# What only a fake can be made to do


def test_plugins_that_are_off_are_not_there(controller: JenkinsController, jenkins: FakeJenkins) -> None:
    assert controller.plugins() == PLUGINS
    assert controller.version() == "2.516.3"


def test_a_multi_job_tells_its_children(controller: JenkinsController, jenkins: FakeJenkins) -> None:
    controller.create_job("team", folder_xml())
    controller.create_job("team/multi", job_xml("A", root=MULTIJOB))
    child = {
        "jobName": "shard",
        "jobAlias": "shard 1",
        "phaseName": "shards",
        "buildNumber": 3,
        "result": None,
        "url": "job/team/job/shard/3/",
    }
    jenkins.scripts["team/multi"] = Script((Step(sub_builds=(child, {**child, "result": "FAILURE"})), Step()))
    jenkins.looks = 0
    controller.queue_item(controller.trigger("team/multi", {}))
    build = controller.build("team/multi", 1)
    assert build
    first, second = build.sub_builds
    assert (first.job, first.alias, first.phase, first.number) == ("team/shard", "shard 1", "shards", 3)
    assert (first.result, second.result) == ("", "FAILURE")


def test_what_git_checked_out_is_known(controller: JenkinsController, jenkins: FakeJenkins) -> None:
    controller.create_job("x", ECHO)
    jenkins.looks = 0
    controller.queue_item(controller.trigger("x", {}))
    revision = {"SHA1": "c0ffee" * 6 + "dead", "branch": [{"name": "refs/remotes/origin/feature/x"}]}
    jenkins.builds["x"][0].actions = [{"lastBuiltRevision": revision}]
    build = controller.build("x", 1)
    assert build
    assert (build.commit, build.branch) == (revision["SHA1"], "feature/x")


def test_a_crumb_whose_session_is_gone_is_renewed_once(
    controller: JenkinsController, jenkins: FakeJenkins
) -> None:
    controller.create_job("x", ECHO)
    jenkins.stop()
    jenkins.start()  # the sessions are gone, and with them the crumbs
    controller.trigger("x", {"REQUEST_ID": "1"})
    assert jenkins.all_builds("x") == 1
    assert jenkins.posts("buildWithParameters") == 2
    jenkins.fail("POST", "buildWithParameters", "403 crumb", times=5)
    with pytest.raises(JenkinsError, match="No valid crumb was included in the request"):
        controller.trigger("x", {"REQUEST_ID": "2"})
    assert jenkins.posts("buildWithParameters") == 4


def test_a_trigger_is_sent_once_whatever_happens(controller: JenkinsController, jenkins: FakeJenkins) -> None:
    controller.create_job("x", ECHO)
    for how in ("drop", "stall", "500", "503", "html", "moved", "401", "403", "short"):
        before = jenkins.posts("buildWithParameters")
        jenkins.fail("POST", "buildWithParameters", how, after=True)
        with contextlib.suppress(
            JenkinsError
        ):  # a body that is short changes nothing: the address is a header
            controller.trigger("x", {"REQUEST_ID": how})
        assert jenkins.posts("buildWithParameters") == before + 1, how


def test_parameters_stand_in_the_body_not_in_the_address(
    controller: JenkinsController, jenkins: FakeJenkins
) -> None:
    controller.create_job("x", job_xml("COMMIT"))
    controller.trigger("x", {"COMMIT": "a&b=c €\n"})
    assert jenkins.items[1].parameters == {"COMMIT": "a&b=c €\n"}
    assert "POST /job/x/buildWithParameters" in jenkins.seen


PASSING = {
    "drop": "closed connection|connection broke|reset",
    "stall": "didn't answer in time",
    "500": "status 500: Internal Server Error, logging ID 9c2f5d1e-0000-4b6c-8d2a-2b1d5f7a1c11",
    "503": "status 503: Jenkins is getting ready to work",
    "cut": "its answer was cut off",
    "short": "its answer was cut off",
}
READS: dict[str, Callable[[JenkinsController], object]] = {
    "/queue/api/json": lambda controller: controller.queue(),
    "/job/x/api/json": lambda controller: controller.builds("x", 3),
    "/job/x/1/api/json": lambda controller: controller.build("x", 1),
}


@pytest.fixture
def built(controller: JenkinsController, jenkins: FakeJenkins) -> JenkinsController:
    controller.create_job("x", ECHO)
    jenkins.looks = 0
    controller.queue_item(controller.trigger("x", {"REQUEST_ID": "1"}))
    return controller


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("how", PASSING)
def test_what_may_pass_is_told_from_what_will_not(
    built: JenkinsController, jenkins: FakeJenkins, how: str, path: str
) -> None:
    jenkins.fail("GET", path, how)
    with pytest.raises(JenkinsUnavailableError, match=PASSING[how]) as raised:
        READS[path](built)
    assert len(str(raised.value)) < 500
    assert READS[path](built) is not None


@pytest.mark.parametrize(
    ("how", "said"), [("html", "HTML instead of JSON"), ("moved", "redirects to https://els")]
)
def test_what_is_no_controller_is_told(
    built: JenkinsController, jenkins: FakeJenkins, how: str, said: str
) -> None:
    jenkins.fail("GET", "/queue", how)
    with pytest.raises(JenkinsError, match=said) as raised:
        built.queue()
    assert not isinstance(raised.value, JenkinsUnavailableError)
    assert "jenkins.url" in raised.value.hint


@pytest.mark.parametrize("how", ["html", "moved"])
def test_a_login_page_is_not_taken_for_an_update_that_succeeded(
    built: JenkinsController, jenkins: FakeJenkins, how: str
) -> None:
    jenkins.fail("POST", "config.xml", how)
    with pytest.raises(JenkinsError, match="could not update the job x"):
        built.update_job("x", job_xml("NEW"))


def test_nobody_at_the_address_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []
    connect = urllib3.util.connection.create_connection

    def noted(address: tuple[str, int], *arguments: Any, **options: Any) -> Any:
        tried.append(address)
        return connect(address, *arguments, **options)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", noted)
    with pytest.raises(JenkinsUnavailableError, match="connection refused") as raised:
        JenkinsController("http://127.0.0.1:9", "", "").version()
    assert tried == [("127.0.0.1", 9)]  # asking again is left to who knows what for
    assert "jenkins.url" in raised.value.hint
    with pytest.raises(JenkinsUnavailableError):
        JenkinsController("http://no-such-host.invalid", "", "").version()


def test_an_answer_of_another_kind_of_server_is_no_controller(tmp_path: Path) -> None:
    with file_server(tmp_path) as url, pytest.raises(JenkinsError) as raised:
        JenkinsController(url, "", "").version()
    assert raised.value.exit_code == 6


@contextlib.contextmanager
def file_server(folder: Path, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_args: object) -> None:
            pass  # a client that doesn't trust us hangs up

    (folder / "api").mkdir()
    (folder / "api" / "json").write_text("{}")
    with Server(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        "3",
        "{}",
        '{"number": "x", "building": true, "timestamp": 1}',
        '{"number": 1, "building": true, "timestamp": 1e300}',
        '{"number": 1, "building": true, "timestamp": 99999999999999999}',
        '{"number": 1, "building": true, "timestamp": 1, "actions": {"a": 1}}',
        "[" * 200_000,
    ],
)
def test_json_that_no_controller_writes_is_refused(text: str) -> None:
    with pytest.raises(NotJenkinsError):
        read_build(text, "x")


def test_actions_without_anything_and_values_of_other_kinds_are_read() -> None:
    actions = [None, {}, {"parameters": [{"name": "REPLAN", "value": True}, {"name": "SECRET"}]}]
    text = json.dumps({"number": 1, "building": False, "result": None, "timestamp": 1, "actions": actions})
    build = read_build(text, "x")
    assert (build.parameters, build.result) == ({"REPLAN": "true", "SECRET": ""}, "")


def test_a_certificate_that_nobody_trusts_is_told(tmp_path: Path) -> None:
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", "key", "-out", "crt")
    subprocess.run(["openssl", *new, *subject], cwd=tmp_path, capture_output=True, timeout=60, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    with file_server(tmp_path, context) as url:
        with pytest.raises(JenkinsError, match="its certificate isn't trusted") as raised:
            JenkinsController(url, "", "").queue()
        assert not isinstance(raised.value, JenkinsUnavailableError)
        assert "REQUESTS_CA_BUNDLE" in raised.value.hint


DENIED: dict[str, tuple[str, Callable[[JenkinsController], object]]] = {
    "hudson.model.Item.Build": ("Job/Build", lambda controller: controller.trigger("x", {})),
    "hudson.model.Item.Create": ("Job/Create", lambda controller: controller.create_job("y", ECHO)),
    "hudson.model.Item.Configure": ("Job/Configure", lambda controller: controller.update_job("x", ECHO)),
    "hudson.model.Item.ExtendedRead": ("Job/ExtendedRead", lambda controller: controller.job_xml("x")),
    "hudson.model.Hudson.SystemRead": ("Overall/SystemRead", lambda controller: controller.plugins()),
}


@pytest.mark.parametrize("permission", DENIED)
def test_a_permission_that_is_lacking_is_named(
    built: JenkinsController, jenkins: FakeJenkins, permission: str
) -> None:
    jenkins.denied.add(permission)
    name, ask = DENIED[permission]
    with pytest.raises(JenkinsError, match=rf"the user ops lacks the permission {name} \(403\)"):
        ask(built)


def test_wrong_credentials_are_told_and_never_shown(jenkins: FakeJenkins) -> None:
    wrong = JenkinsController(jenkins.url, "ops", "not-the-token")
    with pytest.raises(JenkinsError, match=r"doesn't accept the user ops \(401\)") as raised:
        wrong.trigger("x", {})
    assert "JENKINS_TOKEN" in raised.value.hint
    with pytest.raises(JenkinsError, match="an anonymous user lacks the permission Overall/Read") as nobody:
        JenkinsController(jenkins.url, "", "").queue()
    assert "JENKINS_USER" in nobody.value.hint
    for error in (raised.value, nobody.value):
        assert "not-the-token" not in f"{error} {error.hint} {error.__cause__!r}"


def test_logins_come_from_nowhere_else(
    jenkins: FakeJenkins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {jenkins.user} password {jenkins.token}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with pytest.raises(JenkinsError, match="an anonymous user"):
        JenkinsController(jenkins.url, "", "").queue()


def test_further_headers_are_sent_and_not_logged(
    jenkins: FakeJenkins, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("JENKINS_API_EXTRA_HEADERS", "X-Proxy-Token: hush")
    with caplog.at_level("DEBUG"):
        assert JenkinsController(jenkins.url, jenkins.user, jenkins.token).queue() == ()
    assert caplog.records
    assert "hush" not in caplog.text
    assert jenkins.token not in caplog.text


def test_no_message_holds_the_token_or_a_page(built: JenkinsController, jenkins: FakeJenkins) -> None:
    for how in ("drop", "stall", "401", "403", "500", "503", "html", "moved", "cut", "short"):
        jenkins.fail("GET", "/queue/api/json", how)
        with pytest.raises(PipelineError) as raised:
            built.queue()
        said = f"{raised.value} {raised.value.hint}"
        assert jenkins.token not in said
        assert len(said) < 600


def test_a_page_s_message_is_quoted_without_its_markup(
    controller: JenkinsController, jenkins: FakeJenkins
) -> None:
    controller.create_job("x", ECHO)
    controller._client.job_exists = lambda _name: False  # type: ignore[method-assign]  # it comes in between
    with pytest.raises(JenkinsError, match=r"status 400: A item already exists with the name x$"):
        controller.create_job("x", ECHO)


@pytest.mark.parametrize("url", ["", "ci.example", "ftp://ci.example", "https://me:secret@ci.example/"])
def test_an_address_that_is_none_or_holds_a_password_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        open_controller(url, {})
    assert "secret" not in f"{raised.value} {raised.value.hint}"


@pytest.mark.parametrize("name", ["JENKINS_USER", "JENKINS_TOKEN"])
def test_half_a_login_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="isn't set"):
        open_controller("https://ci.example", {name: "x"})
