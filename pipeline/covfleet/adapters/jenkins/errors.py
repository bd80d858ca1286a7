"""Turn the errors of a Jenkins controller into messages for humans.

A controller reports errors as whole HTML pages of up to 60 KB. A message quotes only the page's sentence and
the logging id for finding the rest in the controller's own log; it never contains requests or their headers.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

import jenkins
import requests

from covfleet.errors import JenkinsError, JenkinsNotFoundError, JenkinsUnavailableError

_LONGEST = 300
_PASSING = {429, 500, 502, 503, 504}
_SENTENCES = (
    re.compile(
        r"<th>MESSAGE:</th>\s*<td>(.*?)</td>", re.DOTALL
    ),  # Jetty's own page, for example from the crumb filter
    re.compile(r"<h1>Error</h1>\s*<(?:p|pre)>(.*?)</p", re.DOTALL),  # hudson.model.Failure
    re.compile(r"<h1[^>]*>\s*(Jenkins is (?:getting ready|restarting).*?)</h1>", re.DOTALL | re.IGNORECASE),
)
_LOGGING_ID = re.compile(r"Logging ID=([0-9A-Za-z-]{1,64})")
_MISSING = re.compile(r"is missing the (\w+/\w+) permission")
_GROUPS = {"Hudson": "Overall", "Item": "Job"}  # the names on the controller's own pages

_WHO = "Set JENKINS_USER and JENKINS_TOKEN; create an API token under Security on the user's Jenkins page."
_WAIT = "It may be starting: try again in a minute."
_NOT_JENKINS = "Check jenkins.url: another service, or a login page in front of the controller, answered."


class Refusal(jenkins.JenkinsException):
    """A complete answer with an error status; python-jenkins itself keeps only parts of it."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(f"status {response.status_code}")
        self.status = response.status_code
        self.sentence = sentence(response)
        self.permission = _permission(response)

    @property
    def stale_crumb(self) -> bool:
        """Whether the crumb's session has expired, so that the request had no effect."""
        return self.status == 403 and "No valid crumb" in self.sentence


class NotJenkinsError(Exception):
    """An answer that can't come from a controller, such as HTML instead of JSON."""


class CutOffError(Exception):
    """An answer that isn't valid JSON, probably because it was cut off."""


FAULTS = (
    jenkins.JenkinsException,
    requests.RequestException,
    ValueError,  # from a crumb that python-jenkins can't read
    NotJenkinsError,
    CutOffError,
)
"""Every exception that a request to a controller may raise."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its controller, its user and its purpose."""

    url: str
    user: str  # empty: anonymous
    what: str  # as in "could not {what}"


def sentence(response: requests.Response) -> str:
    """Return the message of an error page in one line."""
    text = response.text
    found = [response.headers.get("X-Error", "")]
    found += [match[1] for pattern in _SENTENCES if (match := pattern.search(text))]
    if "<" not in text[:100]:
        found.append(text)
    said = next((line for line in map(_plain, found) if line), response.reason or "")
    if logged := _LOGGING_ID.search(text):
        said = f"{said}, logging ID {logged[1]}".removeprefix(", ")
    return said


def explained(asked: Asked, error: Exception) -> JenkinsError:
    """Return the error to raise for an exception of python-jenkins, requests or an answer's reader."""
    kind: type[JenkinsError] = JenkinsUnavailableError
    match error:
        case Refusal():
            kind, why, hint = _refused(asked, error)
        case jenkins.NotFoundException():
            kind, why = JenkinsNotFoundError, "the controller doesn't have it"
            hint = f"Check the name, and that {_named(asked)} may read it: otherwise Jenkins hides it."
        case NotJenkinsError():
            kind, why, hint = JenkinsError, str(error), _NOT_JENKINS
        case requests.exceptions.SSLError():
            kind, why = JenkinsError, "its certificate isn't trusted"
            hint = "Set REQUESTS_CA_BUNDLE to a file with its issuer's certificates."
        case requests.exceptions.Timeout() | jenkins.TimeoutException():
            why, hint = "it didn't answer in time", _WAIT
        case CutOffError() | ValueError() | requests.exceptions.ChunkedEncodingError():
            why, hint = "its answer was cut off", _WAIT
        case requests.RequestException():
            why, hint = _cause(error), f"Check jenkins.url. {_WAIT}"
        case _:
            kind, why, hint = JenkinsError, _plain(str(error)) or type(error).__name__, ""
    return kind(f"could not {asked.what} on {asked.url}: {why}", hint=hint)


def _refused(asked: Asked, error: Refusal) -> tuple[type[JenkinsError], str, str]:
    said = f": {error.sentence}" if error.sentence else ""
    if error.status == 401:
        return JenkinsError, f"it doesn't accept {_named(asked)} (401)", _WHO
    if error.status == 403 and error.permission:
        hint = "Ask an administrator to grant it." if asked.user else _WHO
        return JenkinsError, f"{_named(asked)} lacks the permission {error.permission} (403)", hint
    if error.status == 403:
        return JenkinsError, f"{_named(asked)} isn't allowed to (403){said}", _WHO
    if error.status in _PASSING:
        hint = "Find the details in the controller's log by that ID." if "logging ID" in said else _WAIT
        return JenkinsUnavailableError, f"status {error.status}{said}", hint
    return JenkinsError, f"status {error.status}{said}", ""


def _named(asked: Asked) -> str:
    return f"the user {asked.user}" if asked.user else "an anonymous user"


def _permission(response: requests.Response) -> str:
    """Return the missing permission as the controller's pages name it: ``Job/Build``."""
    parts = response.headers.get("X-Required-Permission", "").split(".")
    if len(parts) > 1:
        return _plain(f"{_GROUPS.get(parts[-2], parts[-2])}/{parts[-1]}")
    found = _MISSING.search(response.text)
    return found[1] if found else ""


def _cause(error: BaseException) -> str:
    """Return the system's reason from a verbose exception of requests, without hosts, ports and URLs."""
    seen: list[BaseException] = []
    queue: list[object] = [error]
    while queue and len(seen) < 10:
        now = queue.pop(0)
        if not isinstance(now, BaseException):
            continue
        seen.append(now)
        if isinstance(now, OSError) and now.strerror:
            return now.strerror.lower()
        queue += [*now.args, getattr(now, "reason", None), now.__cause__, now.__context__]
    return "its host name can't be resolved" if "resol" in str(error) else "the connection broke"


def _plain(text: str) -> str:
    """Return HTML or any other text as one printable line of limited length."""
    bare = html.unescape(re.sub(r"<[^>]*>", " ", text[: 10 * _LONGEST]))
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in bare).split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
