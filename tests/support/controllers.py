"""One contract, two controllers: a fake one, and a real one where ``COVFLEET_TEST_JENKINS_URL`` names it.

``place``   the fixture, once for each: a controller, and a folder on it that is the test's own.

On a real controller nothing outside of that folder is read or written, and the folder goes with the test.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import requests
from covfleet.adapters.jenkins.controller import JenkinsController
from covfleet.ports.controller import Controller

from support.fake_jenkins import FakeJenkins, folder_xml

URL = "COVFLEET_TEST_JENKINS_URL"


@dataclass(frozen=True)
class Place:
    """A folder of one's own on a controller. ``fake`` is ``None`` on a real one."""

    controller: Controller
    folder: str
    user: str
    token: str
    fake: FakeJenkins | None

    @property
    def environment(self) -> dict[str, str]:
        """What the command line finds the controller with."""
        return {
            "COVFLEET_JENKINS__URL": self.controller.url,
            "COVFLEET_JENKINS__FOLDER": self.folder,
            "JENKINS_USER": self.user,
            "JENKINS_TOKEN": self.token,
        }

    def name(self, job: str) -> str:
        """Return the full name of a job in the folder."""
        return f"{self.folder}/{job}"


class HandClock:
    """A clock that only sleeping moves. ``plans`` happen instead of the first sleeps, one each."""

    def __init__(self, *plans: Callable[[], object]) -> None:
        self.seconds = 1000.0
        self.sleeps = 0
        self._plans = list(plans)

    def now(self) -> datetime.datetime:
        return datetime.datetime(2020, 1, 1, 1, tzinfo=datetime.UTC)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        assert self.sleeps < 2000, "nobody waits for so long"
        self.seconds += seconds
        if self._plans:
            self._plans.pop(0)()


@pytest.fixture(params=["fake", "real"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Give a folder on each controller."""
    if request.param == "fake":
        jenkins: FakeJenkins = request.getfixturevalue("jenkins")
        controller = JenkinsController(jenkins.url, jenkins.user, jenkins.token, timeout_s=5)
        controller.create_job("ours", folder_xml())
        yield Place(controller, "ours", jenkins.user, jenkins.token, jenkins)
        return
    with real_place() as real:
        yield real


@contextlib.contextmanager
def real_place() -> Iterator[Place]:
    """Give a folder on the real controller, or end the test."""
    url = os.environ.get(URL, "").rstrip("/")
    if not url:
        pytest.skip(f"a real Jenkins controller: {URL}, and _USER and _TOKEN in place of _URL, name one")
    user, token = (os.environ.get(URL.replace("_URL", end), "") for end in ("_USER", "_TOKEN"))
    controller = JenkinsController(url, user, token)
    folder = f"covfleet-test-{secrets.token_hex(6)}"
    controller.create_job(folder, folder_xml("Made by covfleet's tests; they remove it."))
    try:
        yield Place(controller, folder, user, token, None)
    finally:
        _delete(url, folder, (user, token))


def _delete(url: str, folder: str, login: tuple[str, str]) -> None:
    with requests.Session() as session:
        session.auth = login
        crumb = session.get(f"{url}/crumbIssuer/api/json", timeout=30)
        headers = {crumb.json()["crumbRequestField"]: crumb.json()["crumb"]} if crumb.ok else {}
        address = f"{url}/job/{folder}/doDelete"
        session.post(address, headers=headers, timeout=60, allow_redirects=False).raise_for_status()
