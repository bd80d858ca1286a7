"""The controller port, implemented with python-jenkins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import jenkins
import requests

from covfleet.adapters.jenkins import json_forms as read
from covfleet.adapters.jenkins.errors import FAULTS, Asked, NotJenkinsError, Refusal, explained
from covfleet.errors import ConfigurationError, JenkinsError, JenkinsNotFoundError
from covfleet.ports.controller import Build, Console, QueueItem, Stage

_TIMEOUT_S = 30
_SOUND = "successfully validated"

T = TypeVar("T")


def open_controller(url: str, environ: Mapping[str, str]) -> JenkinsController:
    """Return the controller at ``url`` without sending a request yet.

    User and API token are ``JENKINS_USER`` and ``JENKINS_TOKEN``; without both, requests are anonymous.

    Raises:
        ConfigurationError: there is no URL, it contains a password, or only one of the two variables is set.
    """
    if not url:
        raise ConfigurationError(
            "no Jenkins controller is configured",
            hint='Set url = "https://…" in [tool.covfleet.jenkins], or COVFLEET_JENKINS__URL.',
        )
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ConfigurationError(
            "jenkins.url must have the form http(s)://host[:port][/path]",
            hint="Don't put user and token in it: set JENKINS_USER and JENKINS_TOKEN.",
        )
    user, token = (environ.get(name, "") for name in ("JENKINS_USER", "JENKINS_TOKEN"))
    if bool(user) != bool(token):
        lacking = "JENKINS_USER" if token else "JENKINS_TOKEN"
        raise ConfigurationError(f"{lacking} isn't set", hint="Set both or neither: they work only together.")
    return JenkinsController(url.rstrip("/"), user, token)


class JenkinsController:
    """Implements ``ports.Controller``. Not thread-safe."""

    def __init__(self, url: str, user: str, token: str, *, timeout_s: int = _TIMEOUT_S) -> None:
        self.url = url
        self._user = user
        self._client = _Client(url, user or None, token or None, timeout_s)

    def version(self) -> str:
        """Return the controller's version."""
        response = self._get("reach the controller", "api/json", tree="mode")
        found = response.headers.get("X-Jenkins")
        if not found:
            raise explained(
                self._asked("find Jenkins"), NotJenkinsError("the answer doesn't identify itself as Jenkins")
            )
        return found

    def plugins(self) -> Mapping[str, str]:
        """Return short name -> version of the active plugins."""
        what = "list the plugins"
        return self._read(
            what, read.read_plugins, "pluginManager/api/json", tree="plugins[shortName,version,active]"
        )

    def job_xml(self, name: str) -> str | None:
        """Return a job's or folder's config.xml."""
        return self._or_none(f"read the job {name}", lambda: self._client.get_job_config(name))

    def create_job(self, name: str, xml: str) -> None:
        """Create a job or folder."""
        self._ask(f"create the job {name}", lambda: self._client.create_job(name, xml))

    def update_job(self, name: str, xml: str) -> None:
        """Replace a job's or folder's config.xml."""
        self._ask(f"update the job {name}", lambda: self._client.reconfig_job(name, xml))

    def view_xml(self, name: str) -> str | None:
        """Return a view's config.xml."""
        return self._or_none(f"read the view {name}", lambda: self._client.get_view_config(name))

    def create_view(self, name: str, xml: str) -> None:
        """Create a view."""
        self._ask(f"create the view {name}", lambda: self._client.create_view(name, xml))

    def update_view(self, name: str, xml: str) -> None:
        """Replace a view's config.xml."""
        self._ask(f"update the view {name}", lambda: self._client.reconfig_view(name, xml))

    def validate(self, jenkinsfile: str) -> str:
        """Return the faults in a Jenkinsfile; the validator's status is 200 in any case."""
        form = {"jenkinsfile": jenkinsfile}
        said = self._post("validate a Jenkinsfile", "pipeline-model-converter/validate", form).text.strip()
        return "" if _SOUND in said else said or "the validator gave no answer"

    def parameters(self, job: str) -> tuple[str, ...]:
        """Return the names of a job's parameters."""
        what = f"read the job {job}"
        return self._read(what, read.read_parameters, f"{_path(job)}/api/json", tree=read.JOB_TREE)

    def trigger(self, job: str, parameters: Mapping[str, str]) -> int:
        """Request a build, with the parameters in the body, as URLs are logged.

        The controller answers 201 with the URL of the new queue item, or 303 with that of a waiting item that
        has the same parameters.
        """
        what = f"start the job {job}"
        response = self._post(what, f"{_path(job)}/buildWithParameters", parameters)
        location = response.headers.get("Location", "")
        number = urlsplit(location).path.rstrip("/").rpartition("/queue/item/")[2]
        if not number.isdecimal():
            raise self._nonsense(what, f"it answered with {_shown(location)}")
        return int(number)

    def queue_item(self, number: int) -> QueueItem | None:
        """Return an item of the queue."""
        path = f"queue/item/{number}/api/json"
        return self._found(f"read the queue item {number}", read.read_item, path, tree=read.ITEM_TREE)

    def queue(self) -> tuple[QueueItem, ...]:
        """Return everything that is waiting."""
        tree = f"items[{read.ITEM_TREE}]"
        return self._read("read the queue", read.read_queue, "queue/api/json", tree=tree)

    def build(self, job: str, number: int) -> Build | None:
        """Return a build."""
        path = f"{_path(job)}/{number}/api/json"
        what = f"read build {number} of the job {job}"
        return self._found(what, lambda text: read.read_build(text, job), path, tree=read.BUILD_TREE)

    def builds(self, job: str, limit: int) -> tuple[Build, ...]:
        """Return the newest builds."""
        path, what = f"{_path(job)}/api/json", f"list the builds of the job {job}"
        return self._read(what, lambda text: read.read_builds(text, job), path, tree=read.builds_tree(limit))

    def stages(self, job: str, number: int) -> tuple[Stage, ...]:
        """Return the stages so far."""
        path, what = f"{_path(job)}/{number}/wfapi/describe", f"read the stages of build {number} of {job}"
        return self._found(what, read.read_stages, path) or ()

    def console(self, job: str, number: int, offset: int) -> Console:
        """Return the console output from ``offset`` on."""
        path = f"{_path(job)}/{number}/logText/progressiveText"
        response = self._get(f"read the console of build {number} of the job {job}", path, start=str(offset))
        size = response.headers.get("X-Text-Size", "")
        if not size.isdecimal():
            raise self._nonsense("read the console", "the answer isn't a piece of a console")
        # A console shorter than before lost its end in a crash, and the answer has all of it again.
        text = response.text if int(size) >= offset else ""
        return Console(text, int(size), more=response.headers.get("X-More-Data") == "true")

    def _asked(self, what: str) -> Asked:
        return Asked(self.url, self._user, what)

    def _nonsense(self, what: str, why: str) -> JenkinsError:
        return explained(self._asked(what), NotJenkinsError(why))

    def _ask(self, what: str, ask: Callable[[], T]) -> T:
        """Call python-jenkins; if the crumb's session has expired, call it again with a new crumb."""
        try:
            try:
                return ask()
            except Refusal as error:
                if not error.stale_crumb:
                    raise
                self._client.crumb = None
                return ask()
        except FAULTS as error:
            raise explained(self._asked(what), error) from error

    def _get(self, what: str, path: str, **query: str) -> requests.Response:
        return self._ask(what, lambda: self._client.send("GET", path, params=query))

    def _post(self, what: str, path: str, form: Mapping[str, str]) -> requests.Response:
        return self._ask(what, lambda: self._client.send("POST", path, data=form))

    def _read(self, what: str, reader: Callable[[str], T], path: str, **query: str) -> T:
        text = self._get(what, path, **query).text
        return self._ask(what, lambda: reader(text))

    def _found(self, what: str, reader: Callable[[str], T], path: str, **query: str) -> T | None:
        try:
            return self._read(what, reader, path, **query)
        except JenkinsNotFoundError:
            return None

    def _or_none(self, what: str, ask: Callable[[], str]) -> str | None:
        try:
            return self._ask(what, ask)
        except JenkinsNotFoundError:
            return None


class _Client(jenkins.Jenkins):
    """python-jenkins' session, authentication, crumbs and URLs, with three corrections.

    python-jenkins follows redirects, which turns a POST into a GET and loses a queue item's URL; it keeps
    only parts of a refusal; and it guesses the encoding if the controller names none, which is always UTF-8.
    """

    _session: requests.Session

    def __init__(self, url: str, user: str | None, token: str | None, timeout_s: int) -> None:
        logging.disable(logging.WARNING)  # it logs JENKINS_API_EXTRA_HEADERS, which may contain a secret
        try:
            super().__init__(url, user, token, timeout=timeout_s)
        finally:
            logging.disable(logging.NOTSET)

    def send(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Send a request, with a crumb if the controller uses them."""
        response: requests.Response = self.jenkins_request(
            requests.Request(method, self.server + path, **kwargs), add_crumb=method == "POST"
        )
        return response

    def _request(self, req: requests.Request, stream: bool | None = None) -> requests.Response:  # noqa: FBT001
        if not self._session.auth:
            req.auth = lambda request: request  # otherwise requests would look for a login in ~/.netrc
        prepared = self._session.prepare_request(req)
        options = self._session.merge_environment_settings(
            prepared.url, {}, stream, self._session.verify, None
        )
        response: requests.Response = self._session.send(
            prepared, timeout=self.timeout, allow_redirects=False, **options
        )
        response.encoding = "utf-8"
        return response

    def _response_handler(self, response: requests.Response) -> requests.Response:
        if response.status_code == 404:
            raise jenkins.NotFoundException
        if response.status_code >= 400:
            raise Refusal(response)
        location = response.headers.get("Location", "")
        if response.is_redirect and "/queue/item/" not in location:
            raise NotJenkinsError(f"it redirects to {_shown(location)}")
        if response.request.method == "POST" and response.text.lstrip()[:1] == "<":
            raise NotJenkinsError("it answered with a page")
        return response


def _path(name: str) -> str:
    """Return a job's path on the controller."""
    return "/".join(f"job/{quote(part, safe='')}" for part in name.split("/"))


def _shown(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}" if parts.hostname else f"{parts.path[:80]!r}"
