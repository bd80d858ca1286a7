"""Render the files that Jenkins reads, and compare them with those in the project."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from covfleet.errors import ConfigurationError
from covfleet.jenkins.cloud import cloud_yaml
from covfleet.jenkins.jobs import jobs_yaml, to_xml
from covfleet.jenkins.templates import GENERATED, Templates
from covfleet.settings.schema import Settings

JENKINSFILE = "Jenkinsfile"
_TEMPLATE = f"{JENKINSFILE}.j2"
_HEADER_LINES = 10


@dataclass(frozen=True, slots=True)
class Generated:
    """A generated file: its path with ``/``, and its text; ``None`` if the file should not exist."""

    path: str
    text: str | None
    reason: str = ""  # why it should not exist


@dataclass(frozen=True, slots=True)
class Drift:
    """A file that differs from the generated one; ``foreign``: it exists and covfleet didn't generate it."""

    file: Generated
    diff: str
    foreign: bool


def render(settings: Settings, project: Path) -> tuple[Generated, ...]:
    """Return every file that may be generated, in a fixed order, without writing anything.

    Raises:
        ConfigurationError: a template can't be rendered, or Jenkins Job Builder refuses the jobs.
    """
    jenkins, templates = settings.jenkins, Templates(settings, project)
    files = [Generated(JENKINSFILE, templates.render(_TEMPLATE))]
    jobs, cloud = f"{jenkins.output}/jobs.yaml", f"{jenkins.output}/cloud.yaml"
    if jenkins.repository:
        text = jobs_yaml(settings, templates)
        to_xml(text)
        files.append(Generated(jobs, text))
    else:
        files.append(Generated(jobs, None, "jenkins.repository is not set"))
    if jenkins.ec2.ami:
        files.append(Generated(cloud, cloud_yaml(settings, templates)))
    else:
        files.append(Generated(cloud, None, "jenkins.ec2.ami is not set"))
    return tuple(files)


def jenkinsfile(settings: Settings, project: Path) -> str:
    """Return only the text of the Jenkinsfile.

    Raises:
        ConfigurationError: its template can't be rendered.
    """
    return Templates(settings, project).render(_TEMPLATE)


def drifts(files: Iterable[Generated], project: Path) -> tuple[Drift, ...]:
    """Return the files that are missing, differ, or should not exist.

    A file that should not exist and that covfleet didn't generate belongs to somebody else and isn't drift.

    Raises:
        ConfigurationError: a file can't be read.
    """
    return tuple(drift for file in files if (drift := _drift(file, _read(project / file.path))))


def _drift(file: Generated, there: str | None) -> Drift | None:
    foreign = there is not None and not _is_generated(there)
    if there == file.text or (file.text is None and foreign):
        return None
    before = "/dev/null" if there is None else file.path
    after = "/dev/null" if file.text is None else file.path
    return Drift(file, "".join(_difference(there or "", file.text or "", before, after)), foreign)


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", errors="backslashreplace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"can't read {path}: {error.strerror}") from error


def _is_generated(text: str) -> bool:
    return any(GENERATED in line for line in text.splitlines()[:_HEADER_LINES])


def _difference(there: str, wanted: str, before: str, after: str) -> Iterator[str]:
    """Yield the lines of a unified diff, each with its line end."""
    old, new = there.splitlines(keepends=True), wanted.splitlines(keepends=True)
    for line in difflib.unified_diff(old, new, before, after):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
