"""Check names that generated files contain: only what Jenkins and git accept and don't expand.

Each function returns the name or raises ``ValueError`` with the reason; the settings use them as types.
Valid names are still escaped wherever they are written (``covfleet.jenkins.quoting``): these checks reject
names that could never work, and those that Jenkins itself would expand or split, which no escaping prevents.
"""

from __future__ import annotations

import re
import shlex
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

_LABEL = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}", re.ASCII)
_CREDENTIALS = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,199}", re.ASCII)
_JOB = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,79}", re.ASCII)
_BAD_IN_FOLDER = re.compile(r"[?*\\%!@#$^&|<>\[\]:;]")
_BAD_IN_BRANCH = re.compile(r"[\s~^:?*\[\\]|\.\.|@\{|//|^[/.-]|/\.|\.lock(?:/|$)|[/.]$|^@$")
_SCP_URL = re.compile(r"(?:[0-9A-Za-z._-]+@)?[0-9A-Za-z][0-9A-Za-z.-]*:[0-9A-Za-z~/][^\s]*", re.ASCII)
_PLUGIN_VERSION = re.compile(r"\d[0-9A-Za-z._-]*", re.ASCII)
_CREDENTIAL_VARIABLES = ("AWS_", "COVFLEET_", "JENKINS_")
_PARTS = re.compile(r"[0-9A-Za-z._ -]+", re.ASCII)


def label(name: str) -> str:
    """Check the label of an agent: a single label, not a label expression."""
    if not _LABEL.fullmatch(name):
        raise ValueError("not a single label: use letters, digits, dots, dashes and underscores")
    return name


def credentials_id(name: str) -> str:
    """Check the id of credentials on the controller; an empty id means that none are needed."""
    if name and not _CREDENTIALS.fullmatch(name):
        raise ValueError("not a credentials id: use letters, digits, dots, dashes and underscores")
    return name


def job_name(name: str) -> str:
    """Check the name of one of covfleet's jobs: workspace paths and build ids contain it."""
    if not _JOB.fullmatch(name) or ".." in name:
        raise ValueError("not a job name: use up to 80 letters, digits, dots, dashes and underscores")
    return name


def folder_name(name: str) -> str:
    """Check the full name of a Jenkins folder by Jenkins' own rules; an empty name means the top level.

    See ``Jenkins.checkGoodName`` in Jenkins' source.
    """
    for part in name.split("/") if name else ():
        if part != part.strip() or part in {"", ".", ".."} or part.endswith("."):
            raise ValueError(f"{part!r} can't be the name of a Jenkins folder")
        if _BAD_IN_FOLDER.search(part) or not part.isprintable():
            raise ValueError(f"the folder name {part!r} contains a character that Jenkins rejects")
    return name


def branch_name(name: str) -> str:
    """Check a branch name by git's rules (git-check-ref-format), and that Jenkins doesn't expand it."""
    if not name or not name.isprintable() or _BAD_IN_BRANCH.search(name):
        raise ValueError("git doesn't allow this branch name")
    if "$" in name:
        raise ValueError("it contains a $, which Jenkins would expand")
    return name


def repository_url(url: str) -> str:
    """Check the URL that agents clone: no password and no variable; an empty one means that none is set."""
    if not url:
        return url
    if not url.isprintable() or any(char in url for char in " $\"'<>`\\"):
        raise ValueError("not the URL of a git repository: it contains a space, a quote, <, >, $ or \\")
    if url.startswith("-"):
        raise ValueError("not the URL of a git repository: git would take it for an option")
    if "://" not in url:
        if not (url.startswith("/") or _SCP_URL.fullmatch(url)) or "::" in url:
            raise ValueError("not the URL of a git repository")
        return url
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http", "ssh", "git", "file"} or not (parts.netloc or parts.path):
        raise ValueError("not the URL of a git repository: use https, http, ssh, git or file")
    if parts.password or (parts.username and parts.scheme.startswith("http")):
        raise ValueError("it contains credentials: set their id as jenkins.git_credentials instead")
    return url


def web_url(url: str) -> str:
    """Check the URL of the controller: no credentials; an empty one means that none is set."""
    if not url:
        return url
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname or not url.isprintable() or " " in url:
        raise ValueError("not the URL of a controller, such as https://jenkins.example.org/")
    if parts.username or parts.password:
        raise ValueError("it contains credentials: set JENKINS_USER and JENKINS_TOKEN instead")
    if parts.query or parts.fragment:
        raise ValueError("not the URL of a controller: it contains ? or #")
    return url


def inner_path(path: str) -> str:
    """Check a path inside the project: plain parts with ``/`` between them."""
    parts = path.split("/")
    if any(part in {"", ".", ".."} or part[0] in "- " or not _PARTS.fullmatch(part) for part in parts):
        raise ValueError("not a plain path inside the project, such as ci/jenkins")
    return path


def command_line(text: str) -> str:
    """Check a command that agents run: shell words on one line; nothing in them is expanded."""
    if not text.isprintable():
        raise ValueError("it must be on one line")
    if not shlex.split(text):
        raise ValueError("it contains no command")
    return text


def plugin_version(version: str) -> str:
    """Check the version of a Jenkins plugin, such as 2.0.6 or 1885.v730b_5c25b_da_e."""
    if not _PLUGIN_VERSION.fullmatch(version):
        raise ValueError("not a plugin version, such as 2.0.6 or 1885.v730b_5c25b_da_e")
    return version


def passed_variables(names: tuple[str, ...]) -> tuple[str, ...]:
    """Check the names of environment variables that tested code gets from the agent."""
    for name in names:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} isn't the name of an environment variable")
        if name.upper().startswith(_CREDENTIAL_VARIABLES):
            raise ValueError(
                f"{name} isn't passed to tested code: variables that begin with "
                f"{', '.join(_CREDENTIAL_VARIABLES)} hold covfleet's own credentials and settings"
            )
    return names


Label = Annotated[str, AfterValidator(label)]
CredentialsId = Annotated[str, AfterValidator(credentials_id)]
JobName = Annotated[str, AfterValidator(job_name)]
FolderName = Annotated[str, AfterValidator(folder_name)]
BranchName = Annotated[str, AfterValidator(branch_name)]
RepositoryUrl = Annotated[str, AfterValidator(repository_url)]
WebUrl = Annotated[str, AfterValidator(web_url)]
InnerPath = Annotated[str, AfterValidator(inner_path)]
CommandLine = Annotated[str, AfterValidator(command_line)]
PassedVariables = Annotated[tuple[str, ...], AfterValidator(passed_variables)]
PluginVersion = Annotated[str, AfterValidator(plugin_version)]
