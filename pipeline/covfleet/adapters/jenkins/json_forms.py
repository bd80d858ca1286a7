"""Validate a controller's JSON and translate it into the port's types."""

from __future__ import annotations

import datetime
import json
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from covfleet.adapters.jenkins.errors import CutOffError, NotJenkinsError
from covfleet.ports.controller import Build, QueueItem, Stage, SubBuild

_LAST_MS = 253_402_300_799_000  # the last second that Python can represent


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Parameter(_Part):
    name: str
    value: Any = ""


class _Branch(_Part):
    name: str = ""


class _Revision(_Part):
    SHA1: str = ""
    branch: list[_Branch] = []


class _Action(_Part):
    parameters: list[_Parameter] = []
    lastBuiltRevision: _Revision | None = None  # noqa: N815 - the controller's names


class _Executable(_Part):
    number: int


class _Task(_Part):
    url: str = ""


class _Item(_Part):
    id: int
    why: str | None = None
    cancelled: bool = False
    executable: _Executable | None = None
    actions: list[_Action | None] = []
    task: _Task = _Task()


class _SubBuild(_Part):
    jobName: str  # noqa: N815
    jobAlias: str | None = ""  # noqa: N815
    phaseName: str = ""  # noqa: N815
    buildNumber: int = 0  # noqa: N815
    result: str | None = None
    url: str | None = ""


class _Build(_Part):
    number: int
    url: str = ""
    queueId: int = -1  # noqa: N815
    building: bool
    result: str | None = None
    timestamp: int = Field(ge=0, le=_LAST_MS)
    duration: int = 0
    estimatedDuration: int = -1  # noqa: N815
    actions: list[_Action | None] = []
    subBuilds: list[_SubBuild] = []  # noqa: N815


class _Builds(_Part):
    builds: list[_Build] = []


class _Queue(_Part):
    items: list[_Item] = []


class _Definition(_Part):
    name: str


class _Property(_Part):
    parameterDefinitions: list[_Definition] = []  # noqa: N815


class _Job(_Part):
    name: str
    property: list[_Property | None] = []


class _Plugin(_Part):
    shortName: str  # noqa: N815
    version: str
    active: bool = True


class _Plugins(_Part):
    plugins: list[_Plugin]


class _Stage(_Part):
    name: str
    status: str
    startTimeMillis: int = Field(default=0, ge=0, le=_LAST_MS)  # noqa: N815
    durationMillis: int = 0  # noqa: N815


class _Stages(_Part):
    stages: list[_Stage] = []


_Model = TypeVar("_Model", bound=_Part)

_ACTIONS = "actions[parameters[name,value],lastBuiltRevision[SHA1,branch[name]]]"
_SUB_BUILDS = "subBuilds[jobName,jobAlias,phaseName,buildNumber,result,url]"

_TIMES = "timestamp,duration,estimatedDuration"

BUILD_TREE = f"number,url,queueId,building,result,{_TIMES},{_ACTIONS},{_SUB_BUILDS}"
ITEM_TREE = "id,why,cancelled,executable[number],actions[parameters[name,value]],task[url]"
JOB_TREE = "name,property[parameterDefinitions[name]]"
"""The fields to request: without a tree, the controller computes and sends everything that it has."""


def builds_tree(limit: int) -> str:
    """Return the tree of a job's newest ``limit`` builds."""
    return f"builds[{BUILD_TREE}]{{0,{limit}}}"


def read_build(text: str, job: str) -> Build:
    """Return the build in a build's JSON."""
    return _build(_read(_Build, text), job)


def read_builds(text: str, job: str) -> tuple[Build, ...]:
    """Return the builds in a job's JSON, in its order: newest first."""
    return tuple(_build(build, job) for build in _read(_Builds, text).builds)


def read_item(text: str) -> QueueItem:
    """Return the item in a queue item's JSON."""
    return _item(_read(_Item, text))


def read_queue(text: str) -> tuple[QueueItem, ...]:
    """Return the items in the queue's JSON."""
    return tuple(_item(item) for item in _read(_Queue, text).items)


def read_parameters(text: str) -> tuple[str, ...]:
    """Return the names of the parameters in a job's JSON."""
    properties = _read(_Job, text).property
    return tuple(one.name for each in properties if each for one in each.parameterDefinitions)


def read_plugins(text: str) -> dict[str, str]:
    """Return short name -> version of the active plugins."""
    return {one.shortName: one.version for one in _read(_Plugins, text).plugins if one.active}


def read_stages(text: str) -> tuple[Stage, ...]:
    """Return the stages in a run's JSON of the stage view plugin."""
    return tuple(
        Stage(one.name, one.status, _time(one.startTimeMillis), one.durationMillis / 1000)
        for one in _read(_Stages, text).stages
    )


def _read(kind: type[_Model], text: str) -> _Model:
    if text.lstrip()[:1] == "<":
        raise NotJenkinsError("it answered HTML instead of JSON")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CutOffError from error
    except RecursionError as error:
        raise NotJenkinsError("its answer is nested too deeply") from error
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "all of it"
        raise NotJenkinsError(f"its answer isn't Jenkins' JSON: {where}: {first['msg']}") from error


def _build(build: _Build, job: str) -> Build:
    actions = [action for action in build.actions if action]
    revisions = [action.lastBuiltRevision for action in actions if action.lastBuiltRevision]
    revision = revisions[0] if revisions else _Revision()
    return Build(
        job=job,
        number=build.number,
        url=build.url,
        queue_id=build.queueId,
        building=build.building,
        result="" if build.building else build.result or "",
        started_at=_time(build.timestamp),
        duration_s=build.duration / 1000,
        estimated_s=build.estimatedDuration / 1000,
        parameters=_parameters(actions),
        sub_builds=tuple(_sub_build(sub) for sub in build.subBuilds),
        commit=revision.SHA1,
        branch=_branch(revision),
    )


def _sub_build(sub: _SubBuild) -> SubBuild:
    return SubBuild(
        job=_full_name(sub.url or "") or sub.jobName,
        alias=sub.jobAlias or sub.jobName,
        phase=sub.phaseName,
        number=sub.buildNumber,
        result=sub.result or "",
    )


def _item(item: _Item) -> QueueItem:
    return QueueItem(
        id=item.id,
        why=item.why or "",
        cancelled=item.cancelled,
        build=item.executable.number if item.executable else None,
        parameters=_parameters([action for action in item.actions if action]),
        job=_full_name(item.task.url),
    )


def _parameters(actions: list[_Action]) -> dict[str, str]:
    return {
        one.name: one.value if isinstance(one.value, str) else json.dumps(one.value)
        for action in actions
        for one in action.parameters
    }


def _branch(revision: _Revision) -> str:
    name = revision.branch[0].name if revision.branch else ""
    for prefix in ("refs/remotes/", "origin/"):
        name = name.removeprefix(prefix)
    return "" if name in ("", "detached") else name


def _full_name(url: str) -> str:
    """Return the full name of the job in a URL, absolute or relative to the controller."""
    parts = urlsplit(url).path.split("/")
    names = []
    at = parts.index("job") if "job" in parts else len(parts)
    while parts[at : at + 1] == ["job"]:  # a folder may itself be named "job"
        names += parts[at + 1 : at + 2]
        at += 2
    return "/".join(map(unquote, names))


def _time(milliseconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)
