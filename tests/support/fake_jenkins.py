"""A small Jenkins controller in this process: the REST calls that python-jenkins makes, over real HTTP.

``jenkins``   the fixture: a running controller without jobs; ask it for its ``url``, ``user`` and ``token``.

It does what the real one does where covfleet relies on it: crumbs belong to a session and die with a restart;
a job ignores parameters that it doesn't declare; an item that waits with the same parameters is answered
again (303); queue ids and builds survive a restart. Nothing moves by the clock: an item leaves the queue when
it has been looked at ``looks`` times, and a build takes its next step each time its JSON is read.

``fail`` makes one request go wrong, before or after the controller has acted on it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest

VERSION = "2.516.3"
FOLDER = "com.cloudbees.hudson.plugins.folder.Folder"
MULTIJOB = "com.tikal.jenkins.plugins.multijob.MultiJobProject"
PIPELINE = "flow-definition"
ROOTS = {
    FOLDER: "cloudbees-folder@6.1012",
    MULTIJOB: "jenkins-multijob-plugin@644",
    PIPELINE: "workflow-job@1540",
}
PLUGINS = {"workflow-job": "1540.v295eccc9778f", "workflow-cps": "4209.v83c4e257f1e9", "junit": "1359.v28c51"}
PADDING = f"<!-- {'x' * 60_000} -->"

STARTING = f"<html><body><h1>Jenkins is getting ready to work</h1>{PADDING}</body></html>"
OOPS = (
    f"<html><body>{PADDING}<h1><img src='rage.svg'/> Oops!</h1><h2>A problem occurred while processing the"
    " request</h2><p>Logging ID=9c2f5d1e-0000-4b6c-8d2a-2b1d5f7a1c11</p></body></html>"
)
NO_CRUMB = (
    "<html><body><h2>HTTP ERROR 403</h2><table><tr><th>MESSAGE:</th>"
    "<td>No valid crumb was included in the request</td></tr></table></body></html>"
)


@dataclass
class Step:
    """What a build has achieved when its JSON is read once more. ``stages`` are (name, status)."""

    console: str = ""
    stages: tuple[tuple[str, str], ...] = ()
    sub_builds: tuple[dict[str, Any], ...] = ()


@dataclass
class FakeItem:
    id: int
    job: str
    parameters: dict[str, str]
    looks: int
    cancelled: bool = False
    build: int | None = None
    forgotten: bool = False  # it left the queue more than five minutes ago


@dataclass
class FakeBuild:
    job: str
    number: int
    queue_id: int
    parameters: dict[str, str]
    steps: list[Step]
    result: str
    console: str = ""
    stages: tuple[tuple[str, str], ...] = ()
    sub_builds: tuple[dict[str, Any], ...] = ()
    actions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def building(self) -> bool:
        return bool(self.steps)

    def advance(self) -> None:
        if self.steps:
            step = self.steps.pop(0)
            self.console += step.console
            self.stages = step.stages or self.stages
            self.sub_builds = step.sub_builds or self.sub_builds


@dataclass
class Script:
    """How the next builds of a job go."""

    steps: tuple[Step, ...] = (Step("one\n"), Step("two\n"))
    result: str = "SUCCESS"


@dataclass
class Fault:
    """``how`` is drop, stall, 401, 403, 403 crumb, 500, 503, html or moved; cut (JSON that ends too early) or
    short (fewer bytes than announced). With ``after`` the controller has acted before it goes wrong.
    """

    method: str
    path: str  # a regular expression, searched for in the path
    how: str
    times: int = 1
    after: bool = False


@dataclass
class Answer:
    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def page(status: int, text: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, text, {"Content-Type": "text/html;charset=utf-8", **named})


def as_json(value: Any) -> Answer:
    return Answer(200, json.dumps(value), {"Content-Type": "application/json;charset=utf-8"})


def failure(message: str) -> Answer:
    """What ``hudson.model.Failure`` is answered with."""
    return page(400, f"<html><body>{PADDING}<h1>Error</h1><p>{message}</p></body></html>", X_Error=message)


class FakeJenkins:
    """The controller. Its attributes may be read and changed at any time: requests wait for each other."""

    def __init__(self) -> None:
        self.user, self.token = "ops", "11aa22bb33cc-the-token"
        self.jobs: dict[str, str] = {}
        self.views: dict[str, str] = {}
        self.plugins = dict(PLUGINS)
        self.denied: set[str] = set()  # permissions that the user lacks, such as hudson.model.Item.Build
        self.invalid: dict[str, str] = {}  # a piece of a Jenkinsfile -> what the validator says of it
        self.items: dict[int, FakeItem] = {}
        self.builds: dict[str, list[FakeBuild]] = {}
        self.scripts: dict[str, Script] = {}
        self.looks = 2
        self.seen: list[str] = []  # "POST /job/x/build", in order
        self.stalled = threading.Event()  # ends what a fault stalls
        self._faults: list[Fault] = []
        self._sessions: dict[str, str] = {}
        self._lock = threading.Lock()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        return {"JENKINS_USER": self.user, "JENKINS_TOKEN": self.token}

    def start(self) -> None:
        controller = self

        class Handler(_Handler):
            jenkins = controller

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        assert self._server is not None
        self.stalled.set()
        self._server.shutdown()
        self._server.server_close()
        self._sessions.clear()

    def fail(self, method: str, path: str, how: str, *, times: int = 1, after: bool = False) -> None:
        self._faults.append(Fault(method, path, how, times, after))

    def posts(self, path: str) -> int:
        """How many POSTs to such a path arrived."""
        return sum(bool(re.search(path, line)) for line in self.seen if line.startswith("POST"))

    def all_builds(self, job: str) -> int:
        """How many builds of a job there are, or will be."""
        waiting = [item for item in self.items.values() if item.job == job and not item.build]
        return len(self.builds.get(job, [])) + len([item for item in waiting if not item.cancelled])

    def serve(self, request: _Handler) -> Answer | str:
        """Answer a request, or return how to fail instead."""
        with self._lock:
            method, path = request.command, urlsplit(request.path).path
            self.seen.append(f"{method} {path}")
            fault = self._fault(method, path)
            if fault and not fault.after:
                return _spoilt(fault.how, None)
            answer = self._checked(request, method, path)
            return _spoilt(fault.how, answer) if fault else answer

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self._faults:
            if fault.times and fault.method == method and re.search(fault.path, path):
                fault.times -= 1
                return Fault(**{**vars(fault), "after": fault.after or fault.how in ("cut", "short")})
        return None

    def _checked(self, request: _Handler, method: str, path: str) -> Answer:
        given = request.headers.get("Authorization", "")
        wanted = base64.b64encode(f"{self.user}:{self.token}".encode()).decode()
        if given and given != f"Basic {wanted}":
            return page(401, f"<html><body>{PADDING}<h2>HTTP ERROR 401 Unauthorized</h2></body></html>")
        if not given:
            return self._forbidden("hudson.model.Hudson.Read")
        session = re.search(r"JSESSIONID\.fake=(\w+)", request.headers.get("Cookie", ""))
        name = session[1] if session else ""
        if path == "/crumbIssuer/api/json":
            return self._crumb(name)
        if method == "POST" and request.headers.get("Jenkins-Crumb", "-") != self._sessions.get(name):
            return page(403, NO_CRUMB)
        return self._route(request, method, path)

    def _crumb(self, session: str) -> Answer:
        if session not in self._sessions:
            session = f"s{len(self._sessions)}x{len(self.seen)}"
            self._sessions[session] = hashlib.sha256(session.encode()).hexdigest()
        answer = as_json({"crumb": self._sessions[session], "crumbRequestField": "Jenkins-Crumb"})
        answer.headers["Set-Cookie"] = f"JSESSIONID.fake={session}; Path=/; HttpOnly"
        return answer

    def _forbidden(self, permission: str) -> Answer:
        return page(
            403, f"<html>{PADDING}Access Denied</html>", X_Required_Permission=permission, X_You_Are="ops"
        )

    def _route(self, request: _Handler, method: str, path: str) -> Answer:
        for wanted, pattern, permission, name in _ROUTES:
            if wanted == method and (found := re.fullmatch(pattern, path)):
                if permission in self.denied:
                    return self._forbidden(permission)
                groups = {key: value or "" for key, value in found.groupdict().items()}
                answer = getattr(self, f"_{name}")(request, **groups)
                assert isinstance(answer, Answer)
                return answer
        return page(404, f"<html>{PADDING}<h2>HTTP ERROR 404 Not Found</h2></html>")

    def _info(self, request: _Handler) -> Answer:
        return as_json({"mode": "NORMAL"})

    def _plugin_list(self, request: _Handler) -> Answer:
        rows = [{"shortName": name, "version": what, "active": True} for name, what in self.plugins.items()]
        return as_json({"plugins": rows})

    def _validate(self, request: _Handler) -> Answer:
        text = request.form.get("jenkinsfile", "")
        wrong = [said for piece, said in self.invalid.items() if piece in text]
        if "pipeline {" not in text:
            wrong.append(f"Jenkinsfile content '{text}' did not contain the 'pipeline' step")
        if not wrong:
            return Answer(200, "Jenkinsfile successfully validated.\n")
        return Answer(200, "\n".join(["Errors encountered validating Jenkinsfile:", *wrong]))

    def _create(self, request: _Handler, parent: str, kind: str) -> Answer:
        parent, name = full_name(parent), request.query["name"]
        full = f"{parent}/{name}" if parent else name
        there = self.views if kind == "View" else self.jobs
        if parent and parent not in self.jobs:
            return page(404, "")
        if full in there:
            return failure(f"A {kind.lower()} already exists with the name {name}")
        return self._store(there, full, request.body)

    def _update(self, request: _Handler, job: str, view: str = "") -> Answer:
        there, full = self._named(job, view)
        return self._store(there, full, request.body) if full in there else page(404, "")

    def _store(self, there: dict[str, str], full: str, body: bytes) -> Answer:
        try:
            root = ET.fromstring(re.sub(rb"^\s*<\?xml[^>]*\?>", b"", body))
        except ET.ParseError:
            return page(500, OOPS)
        if there is self.jobs and root.tag not in {*ROOTS, "project"}:
            return page(500, OOPS)
        if root.tag in ROOTS:
            root.set("plugin", ROOTS[root.tag])
        there[full] = ET.tostring(root, "unicode")
        return Answer()

    def _config(self, request: _Handler, job: str, view: str = "") -> Answer:
        there, full = self._named(job, view)
        if full not in there:
            return page(404, "")
        header = "<?xml version='1.1' encoding='UTF-8'?>\n"
        return Answer(200, header + there[full], {"Content-Type": "application/xml"})

    def _view(self, request: _Handler, job: str, view: str) -> Answer:
        there, full = self._named(job, view)
        return as_json({"name": full.rpartition("/")[2]}) if full in there else page(404, "")

    def _named(self, job: str, view: str) -> tuple[dict[str, str], str]:
        if not view:
            return self.jobs, full_name(job)
        return self.views, "/".join(filter(None, (full_name(job), unquote(view))))

    def _delete(self, request: _Handler, job: str) -> Answer:
        full = full_name(job)
        if full not in self.jobs:
            return page(404, "")
        self.jobs = {name: xml for name, xml in self.jobs.items() if not f"{name}/".startswith(f"{full}/")}
        return Answer(302, "", {"Location": f"{self.url}/"})

    def _job(self, request: _Handler, job: str) -> Answer:
        full = full_name(job)
        if full not in self.jobs:
            return page(404, "")
        limit = int((re.search(r"\{0,(\d+)\}", request.query.get("tree", "")) or ["", "100"])[1])
        newest = list(reversed(self.builds.get(full, [])))[:limit]
        definitions = [{"name": name} for name in self._declared(full)]
        return as_json(
            {
                "name": full.rpartition("/")[2],
                "property": [{}, {"parameterDefinitions": definitions}],
                "builds": [self._build_json(build) for build in newest],
            }
        )

    def _declared(self, job: str) -> list[str]:
        found = ET.fromstring(self.jobs[job]).iter("parameterDefinitions")
        return [one.findtext("name", "") for each in found for one in each]

    def _trigger(self, request: _Handler, job: str) -> Answer:
        full = full_name(job)
        if full not in self.jobs:
            return page(404, "")
        declared = self._declared(full)
        if not declared:
            return page(500, OOPS)  # "This build is not parameterized!"
        parameters = {name: request.form.get(name, "") for name in declared}
        for item in self.items.values():
            if (item.job, item.parameters, item.build, item.cancelled) == (full, parameters, None, False):
                return Answer(303, "", {"Location": f"{self.url}/queue/item/{item.id}/"})
        number = len(self.items) + 1
        self.items[number] = FakeItem(number, full, parameters, self.looks)
        return Answer(201, "", {"Location": f"{self.url}/queue/item/{number}/"})

    def _item(self, request: _Handler, number: str) -> Answer:
        item = self.items.get(int(number))
        if item is None or item.forgotten:
            return page(404, "")
        self._look(item)
        return as_json(self._item_json(item))

    def _queue(self, request: _Handler) -> Answer:
        waiting = [item for item in self.items.values() if not item.build and not item.cancelled]
        return as_json({"items": [self._item_json(item) for item in reversed(waiting)]})

    def _look(self, item: FakeItem) -> None:
        item.looks -= 1
        if item.looks < 0 and not item.build and not item.cancelled:
            self.begin(item)

    def begin(self, item: FakeItem) -> FakeBuild:
        """Let an item leave the queue."""
        script = self.scripts.get(item.job, Script())
        builds = self.builds.setdefault(item.job, [])
        build = FakeBuild(
            item.job, len(builds) + 1, item.id, item.parameters, list(script.steps), script.result
        )
        builds.append(build)
        item.build = build.number
        return build

    def _item_json(self, item: FakeItem) -> dict[str, Any]:
        value: dict[str, Any] = {
            "id": item.id,
            "cancelled": item.cancelled,
            "why": None if item.build else "Waiting for next available executor on covfleet",
            "task": {"url": f"{self.url}/{_url(item.job)}/"},
            "actions": [{"_class": "hudson.model.ParametersAction", **_parameters(item.parameters)}, {}],
        }
        if item.build:
            value["executable"] = {"number": item.build, "url": f"{self.url}/{_url(item.job)}/{item.build}/"}
        return value

    def _build(self, request: _Handler, job: str, number: str) -> Answer:
        if (build := self._found(job, number)) is None:
            return page(404, "")
        build.advance()
        return as_json(self._build_json(build))

    def _build_json(self, build: FakeBuild) -> dict[str, Any]:
        return {
            "number": build.number,
            "url": f"{self.url}/{_url(build.job)}/{build.number}/",
            "queueId": build.queue_id,
            "building": build.building,
            "result": None if build.building else build.result,
            "timestamp": 1_763_900_000_000 + 60_000 * build.number,
            "duration": 0 if build.building else 83_000,
            "estimatedDuration": 80_000,
            "actions": [_parameters(build.parameters), {}, *build.actions],
            "subBuilds": list(build.sub_builds),
        }

    def _stages(self, request: _Handler, job: str, number: str) -> Answer:
        build = self._found(job, number)
        if build is None or ET.fromstring(self.jobs[build.job]).tag != PIPELINE:
            return page(404, "")
        rows = [
            {"name": name, "status": status, "startTimeMillis": 1_763_900_000_000, "durationMillis": 4_000}
            for name, status in build.stages
        ]
        return as_json({"stages": rows})

    def _console(self, request: _Handler, job: str, number: str) -> Answer:
        if (build := self._found(job, number)) is None:
            return page(404, "")
        whole, start = build.console.encode(), int(request.query.get("start", "0"))
        rest = whole[start if start <= len(whole) else 0 :]
        more = {"X-More-Data": "true"} if build.building else {}
        headers = {"Content-Type": "text/plain;charset=UTF-8", "X-Text-Size": str(len(whole)), **more}
        return Answer(200, rest.decode(), headers)

    def _found(self, job: str, number: str) -> FakeBuild | None:
        return next((b for b in self.builds.get(full_name(job), []) if b.number == int(number)), None)


_JOB = r"(?P<job>/job/[^/]+(?:/job/[^/]+)*)"
_RUN = _JOB + r"/(?P<number>\d+)"
_VIEW = r"(?P<job>(?:/job/[^/]+)*)/view/(?P<view>[^/]+)"
_READ, _MAKE, _SET, _START = (
    f"hudson.model.Item.{what}" for what in ("Read", "Create", "Configure", "Build")
)
_ROUTES = (
    ("GET", "/api/json", "hudson.model.Hudson.Read", "info"),
    ("GET", "/pluginManager/api/json", "hudson.model.Hudson.SystemRead", "plugin_list"),
    ("POST", "/pipeline-model-converter/validate", "", "validate"),
    ("POST", r"(?P<parent>(?:/job/[^/]+)*)/create(?P<kind>Item|View)", "hudson.model.Item.Create", "create"),
    ("GET", _VIEW + r"/config\.xml", "hudson.model.View.Configure", "config"),
    ("POST", _VIEW + r"/config\.xml", "hudson.model.View.Configure", "update"),
    ("GET", _VIEW + "/api/json", "hudson.model.View.Read", "view"),
    ("GET", _JOB + "/api/json", _READ, "job"),
    ("GET", _JOB + r"/config\.xml", "hudson.model.Item.ExtendedRead", "config"),
    ("POST", _JOB + r"/config\.xml", "hudson.model.Item.Configure", "update"),
    ("POST", _JOB + "/doDelete", "hudson.model.Item.Delete", "delete"),
    ("POST", _JOB + "/buildWithParameters", "hudson.model.Item.Build", "trigger"),
    ("GET", r"/queue/item/(?P<number>\d+)/api/json", "", "item"),
    ("GET", "/queue/api/json", "", "queue"),
    ("GET", _RUN + "/api/json", _READ, "build"),
    ("GET", _RUN + "/wfapi/describe/?", _READ, "stages"),
    ("GET", _RUN + "/logText/progressiveText", _READ, "console"),
)


class _Handler(BaseHTTPRequestHandler):
    """One request; the connection ends with it."""

    jenkins: FakeJenkins
    body = b""

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query))

    @property
    def form(self) -> dict[str, str]:
        return {**self.query, **dict(parse_qsl(self.body.decode(), keep_blank_values=True))}

    def do_GET(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.jenkins.serve(self)
        if isinstance(answer, str):
            if answer == "stall":
                self.jenkins.stalled.wait(20)
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._write(answer)

    do_POST = do_GET  # noqa: N815

    def _write(self, answer: Answer) -> None:
        body = answer.body.encode()
        announced = answer.headers.pop("Content-Length", str(len(body)))
        self.send_response(answer.status)
        for name, value in {"X-Jenkins": VERSION, "Content-Length": announced, **answer.headers}.items():
            self.send_header(name, value.encode().decode("latin-1"))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        pass


def _spoilt(how: str, answer: Answer | None) -> Answer | str:
    """Return what is sent instead of the answer."""
    match how:
        case "drop" | "stall":
            return how
        case "cut":
            assert answer is not None
            return Answer(answer.status, answer.body[: len(answer.body) // 2], answer.headers)
        case "short":
            assert answer is not None
            length = {"Content-Length": str(len(answer.body.encode()) + 100)}
            return Answer(answer.status, answer.body, {**answer.headers, **length})
        case "html":
            return page(200, f"<!DOCTYPE html><html><title>Sign in</title>{PADDING}</html>")
        case "moved":
            return Answer(302, "", {"Location": "https://elsewhere.example/login?from=%2F"})
        case "403 crumb":
            return page(403, NO_CRUMB)
        case "503":
            return page(503, STARTING)
        case _:
            return page(int(how), OOPS)


def full_name(path: str) -> str:
    """Return the full name of the job at ``/job/a/job/b``."""
    return "/".join(unquote(part) for part in path.split("/")[2::2])


def _url(job: str) -> str:
    return "/".join(f"job/{quote(part)}" for part in job.split("/"))


def _parameters(values: dict[str, str]) -> dict[str, Any]:
    return {"parameters": [{"name": name, "value": value} for name, value in values.items()]}


def job_xml(*parameters: str, root: str = "project", command: str = "") -> str:
    """Return the config.xml of a job with these string parameters, and one shell command."""
    job = ET.Element(root)
    holder = ET.SubElement(ET.SubElement(job, "properties"), "hudson.model.ParametersDefinitionProperty")
    definitions = ET.SubElement(holder, "parameterDefinitions")
    for name in parameters:
        one = ET.SubElement(definitions, "hudson.model.StringParameterDefinition")
        ET.SubElement(one, "name").text = name
        ET.SubElement(one, "defaultValue").text = ""
    if command:
        shell = ET.SubElement(ET.SubElement(job, "builders"), "hudson.tasks.Shell")
        ET.SubElement(shell, "command").text = command
    return ET.tostring(job, "unicode")


def folder_xml(description: str = "") -> str:
    """Return a folder's config.xml."""
    folder = ET.Element(FOLDER)
    ET.SubElement(folder, "description").text = description
    return ET.tostring(folder, "unicode")


@pytest.fixture
def jenkins() -> Iterator[FakeJenkins]:
    controller = FakeJenkins()
    controller.start()
    yield controller
    controller.stop()
