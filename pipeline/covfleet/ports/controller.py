"""The port to a Jenkins controller: what rendering, applying, running and following need of it.

Jobs are named in full, folders included: ``team/covfleet``. A folder is a job as far as its XML goes. Times
are the controller's clock in UTC, durations seconds. Every method may raise ``JenkinsError`` (exit code 6),
as its subclass ``JenkinsUnavailableError`` where waiting may help: nobody listens, a restart, a time-out, an
answer that was cut off. None is repeated by the port itself, but for one fresh crumb.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A build that waits, or has left the queue not long ago (the controller forgets it after 5 minutes)."""

    id: int
    why: str  # what it waits for, as the controller puts it; empty once it has left
    cancelled: bool
    build: int | None  # the build's number, once it has started
    parameters: Mapping[str, str]
    job: str


@dataclass(frozen=True, slots=True)
class SubBuild:
    """One child of a multi-job's build."""

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
    estimated_s: float  # from earlier builds; below 0 without any
    parameters: Mapping[str, str] = field(default_factory=dict)
    sub_builds: tuple[SubBuild, ...] = ()
    commit: str = ""  # that the git plugin says was checked out
    branch: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a pipeline's build, as the stage view plugin tells it."""

    name: str
    status: str  # IN_PROGRESS, PAUSED_PENDING_INPUT, SUCCESS, UNSTABLE, FAILED, ABORTED, NOT_EXECUTED
    started_at: datetime.datetime
    duration_s: float


@dataclass(frozen=True, slots=True)
class Console:
    """A piece of a build's console, and the offset where the next one begins."""

    text: str
    offset: int
    more: bool  # the build still writes


class Controller(Protocol):
    """A Jenkins controller."""

    url: str

    def version(self) -> str:
        """Return the controller's version; the cheapest question that needs no permission but to read."""

    def plugins(self) -> Mapping[str, str]:
        """Return the versions of the plugins that are installed and active, by short name."""

    def job_xml(self, name: str) -> str | None:
        """Return a job's or folder's config.xml, ``None`` if there is none of that name."""

    def create_job(self, name: str, xml: str) -> None:
        """Create a job or folder; its own folder must exist, and itself not."""

    def update_job(self, name: str, xml: str) -> None:
        """Replace the config.xml of a job or folder. Raises ``JenkinsNotFoundError``."""

    def view_xml(self, name: str) -> str | None:
        """Return a view's config.xml (``folder/view`` in a folder), ``None`` if there is none."""

    def create_view(self, name: str, xml: str) -> None:
        """Create a view; it must not exist."""

    def update_view(self, name: str, xml: str) -> None:
        """Replace a view's config.xml. Raises ``JenkinsNotFoundError``."""

    def validate(self, jenkinsfile: str) -> str:
        """Return what the controller's validator says of a declarative Jenkinsfile; empty if it is sound."""

    def parameters(self, job: str) -> tuple[str, ...]:
        """Return the names of the parameters that a job declares. Raises ``JenkinsNotFoundError``."""

    def trigger(self, job: str, parameters: Mapping[str, str]) -> int:
        """Ask for a build, and return its number in the queue.

        Never repeated: after ``JenkinsUnavailableError`` it is open whether the controller has accepted it.
        """

    def queue_item(self, number: int) -> QueueItem | None:
        """Return an item of the queue, ``None`` when the controller knows (or remembers) none."""

    def queue(self) -> tuple[QueueItem, ...]:
        """Return everything that waits now, on the whole controller."""

    def build(self, job: str, number: int) -> Build | None:
        """Return a build, ``None`` if the job has none of that number."""

    def builds(self, job: str, limit: int) -> tuple[Build, ...]:
        """Return the newest ``limit`` builds, newest first. Raises ``JenkinsNotFoundError``."""

    def stages(self, job: str, number: int) -> tuple[Stage, ...]:
        """Return the stages so far; none without the stage view plugin, or for other jobs than pipelines."""

    def console(self, job: str, number: int, offset: int) -> Console:
        """Return what the console holds from an offset on. Raises ``JenkinsNotFoundError``."""
