"""Start exactly one build: each request has a unique id, which is a parameter of the build.

The answer to a request that the controller accepted may be lost: a timeout, a proxy's 502, a restart. So the
request is looked up in the queue and in the newest builds before it is repeated. Even a repeated request
starts no second build while the first one is waiting: Jenkins answers with the item that has the same
parameters.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from covfleet.errors import ConfigurationError, JenkinsError, JenkinsUnavailableError
from covfleet.ports.clock import Clock
from covfleet.ports.controller import Controller
from covfleet.ports.narration import Narrate

REQUEST_ID = "REQUEST_ID"
"""The parameter for finding a build again."""

LOOK_BACK = 50
"""Number of newest builds among which to look for a request."""

_ATTEMPTS = 3
_SETTLE_S = 20.0  # how long a failed request may still be on its way through proxies and queues
_LOOK_EVERY_S = 2.0
_PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class TriggerRequest:
    """A request to build a job."""

    job: str
    id: str
    parameters: Mapping[str, str]  # without the id

    @property
    def all_parameters(self) -> dict[str, str]:
        """The parameters including the id."""
        return {**self.parameters, REQUEST_ID: self.id}


@dataclass(frozen=True, slots=True)
class TriggeredBuild:
    """The place of a request: an item of the queue, or already a build."""

    queue_item: int | None = None
    build: int | None = None


def new_request(job: str, parameters: Mapping[str, str]) -> TriggerRequest:
    """Return a request with a new id."""
    return TriggerRequest(job, f"r{secrets.token_hex(8)}", parameters)  # never a plain number like a build's


def start(controller: Controller, clock: Clock, request: TriggerRequest, say: Narrate) -> TriggeredBuild:
    """Start the requested build, exactly once, and return its place.

    Raises:
        ConfigurationError: the job doesn't declare one of the parameters, which Jenkins would silently
            ignore.
        JenkinsError: the controller refuses, or is unavailable for too long.
    """
    _check_parameters(request, controller.parameters(request.job))
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return TriggeredBuild(queue_item=controller.trigger(request.job, request.all_parameters))
        except JenkinsUnavailableError as error:
            say(f"{error}; checking whether it accepted the request anyway")
            if triggered := _look_for(controller, clock, request):
                return triggered
            if attempt == _ATTEMPTS:
                raise
            say("the request was not accepted: trying again")
    raise AssertionError("unreachable")


def find(controller: Controller, job: str, request_id: str) -> TriggeredBuild | None:
    """Return the place of a request, or ``None`` if it is neither in the queue nor among the newest builds.

    The queue comes first: an item that leaves it meanwhile is then found among the builds.
    """
    for item in controller.queue():
        if item.job == job and item.parameters.get(REQUEST_ID) == request_id:
            return TriggeredBuild(queue_item=item.id)
    for build in controller.builds(job, LOOK_BACK):
        if build.parameters.get(REQUEST_ID) == request_id:
            return TriggeredBuild(build=build.number)
    return None


def _look_for(controller: Controller, clock: Clock, request: TriggerRequest) -> TriggeredBuild | None:
    """Look for the request until it is found or can no longer arrive; return its place or ``None``.

    Raises:
        JenkinsUnavailableError: the controller doesn't come back.
    """
    began = clock.monotonic()
    first_answer = None
    while True:
        clock.sleep(_LOOK_EVERY_S)
        now = clock.monotonic()
        try:
            if triggered := find(controller, request.job, request.id):
                return triggered
        except JenkinsUnavailableError as error:
            if now - began > _PATIENCE_S:
                raise JenkinsUnavailableError(
                    f"{error}; it may have accepted the request before",
                    hint=f"Once it is back, check with: covfleet jenkins follow {request.id}",
                ) from error
            continue
        first_answer = now if first_answer is None else first_answer
        if now - first_answer > _SETTLE_S:
            return None


def _check_parameters(request: TriggerRequest, declared: tuple[str, ...]) -> None:
    missing = [name for name in request.all_parameters if name not in declared]
    if REQUEST_ID in missing:
        raise ConfigurationError(
            f"the job {request.job} has no parameter {REQUEST_ID}, so its builds couldn't be found again",
            hint="Update it with `covfleet jenkins apply`.",
        )
    if missing:
        raise ConfigurationError(
            f"the job {request.job} has no parameter {', '.join(missing)}",
            hint=f"It has {', '.join(declared)}. A multi-job's number of shards is set by rendering it.",
        )


def locate(controller: Controller, job: str, wanted: str) -> tuple[str, TriggeredBuild]:
    """Return request id and the build, given its number or its request's id.

    The id is empty for a build that nobody requested.

    Raises:
        JenkinsError: there is no such build.
    """
    if wanted.isdecimal() and (build := controller.build(job, int(wanted))):
        return build.parameters.get(REQUEST_ID, ""), TriggeredBuild(build=build.number)
    if triggered := find(controller, job, wanted):
        return wanted, triggered
    raise JenkinsError(
        f"the job {job} has no build {wanted}, and none of its {LOOK_BACK} newest builds has that request id",
        hint="`covfleet jenkins status` lists its builds.",
    )
