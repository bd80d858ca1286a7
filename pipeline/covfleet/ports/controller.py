"""The port to a Jenkins controller, for rendering, applying, running and following.

Job names are full names with their folders: ``team/covfleet``. Methods for a job's XML work for folders, too.
Times are the controller's clock in UTC, durations are seconds. Every method may raise ``JenkinsError`` (exit
code 6), or its subclass ``JenkinsUnavailableError`` if waiting may help: connection refused, a restart, a
timeout, a truncated response. The port itself repeats no request, except once with a fresh crumb.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A build that is waiting or left the queue recently (the controller forgets it after 5 minutes)."""

    id: int
    why: str  # why it is waiting, in the controller's words; empty once it has left
    cancelled: bool
    build: int | None  # the build's number, once it has started
    parameters: Mapping[str, str]
    job: str


@dataclass(frozen=True, slots=True)
class SubBuild:
    """A child build of a multi-job's build."""

    job: str
    alias: str
    phase: str
    number: int
    result: str  # empty while it runs


@dataclass(frozen=True, slots=True)
class Build:
    """A build of a job."""

    job: str
    number: int
    url: str
    queue_id: int
    building: bool
    result: str  # SUCCESS, UNSTABLE, FAILURE, ABORTED, NOT_BUILT; empty while it runs
    started_at: datetime.datetime
    duration_s: float  # 0 while it runs
    estimated_s: float  # from earlier builds; negative without any
    parameters: Mapping[str, str] = field(default_factory=dict)
    sub_builds: tuple[SubBuild, ...] = ()
    commit: str = ""  # that was checked out, according to the git plugin
    branch: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a pipeline's build, as the stage view plugin reports it."""

    name: str
    status: str  # IN_PROGRESS, PAUSED_PENDING_INPUT, SUCCESS, UNSTABLE, FAILED, ABORTED, NOT_EXECUTED
    started_at: datetime.datetime
    duration_s: float


@dataclass(frozen=True, slots=True)
class Console:
    """A piece of a build's console output, and the offset of the next one."""

    text: str
    offset: int
    more: bool  # the build is still writing


class Controller(Protocol):
    """A Jenkins controller."""

    url: str

    def version(self) -> str:
        """Return the controller's version: the cheapest request that needs only read permission."""

    def plugins(self) -> Mapping[str, str]:
        """Return the versions of the installed, active plugins by short name."""

    def job_xml(self, name: str) -> str | None:
        """Return a job's or folder's config.xml, or ``None`` if there is none of that name."""

    def create_job(self, name: str, xml: str) -> None:
        """Create a job or folder; its parent folder must exist, the job must not."""

    def update_job(self, name: str, xml: str) -> None:
        """Replace the config.xml of a job or folder. Raises ``JenkinsNotFoundError``."""

    def view_xml(self, name: str) -> str | None:
        """Return a view's config.xml (``folder/view`` in a folder), or ``None`` if there is none."""

    def create_view(self, name: str, xml: str) -> None:
        """Create a view; it must not exist."""

    def update_view(self, name: str, xml: str) -> None:
        """Replace a view's config.xml. Raises ``JenkinsNotFoundError``."""

    def validate(self, jenkinsfile: str) -> str:
        """Return the controller's complaints about a declarative Jenkinsfile; empty if it is valid."""

    def parameters(self, job: str) -> tuple[str, ...]:
        """Return the names of the parameters that a job declares. Raises ``JenkinsNotFoundError``."""

    def trigger(self, job: str, parameters: Mapping[str, str]) -> int:
        """Request a build and return the number of its queue item.

        Never repeated: after ``JenkinsUnavailableError`` the controller may or may not have accepted it.
        """

    def queue_item(self, number: int) -> QueueItem | None:
        """Return an item of the queue, or ``None`` if the controller doesn't know it or has forgotten it."""

    def queue(self) -> tuple[QueueItem, ...]:
        """Return everything that is waiting now, on the whole controller."""

    def build(self, job: str, number: int) -> Build | None:
        """Return a build, or ``None`` if the job has none of that number."""

    def builds(self, job: str, limit: int) -> tuple[Build, ...]:
        """Return the newest ``limit`` builds, newest first. Raises ``JenkinsNotFoundError``."""

    def stages(self, job: str, number: int) -> tuple[Stage, ...]:
        """Return the stages so far; empty without the stage view plugin, or for jobs other than pipelines."""

    def console(self, job: str, number: int, offset: int) -> Console:
        """Return the console output from an offset on. Raises ``JenkinsNotFoundError``."""
