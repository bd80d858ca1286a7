"""Starts a build once and only once: each request has an id of its own, a parameter of the build.

A controller may accept a request and its answer be lost: a time-out, a proxy's 502, a restart. What became of
the request is then looked up in the queue and in the newest builds before anything is sent again. Even a
second request is no second build while the first one waits: Jenkins answers with the item that has the same
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
"""The parameter by which a build is found again."""

LOOK_BACK = 50
"""Among how many of the newest builds a request is looked for."""

_ATTEMPTS = 3
_SETTLE_S = 20.0  # for so long a request that broke may still be on its way through proxies and queues
_LOOK_EVERY_S = 2.0
_PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class TriggerRequest:
    """A build that is wanted of a job."""

    job: str
    id: str
    parameters: Mapping[str, str]  # without the id

    @property
    def all_parameters(self) -> dict[str, str]:
        """The parameters with the id."""
        return {**self.parameters, REQUEST_ID: self.id}


@dataclass(frozen=True, slots=True)
class TriggeredBuild:
    """Where a request is: an item of the queue, or already a build."""

    queue_item: int | None = None
    build: int | None = None


def new_request(job: str, parameters: Mapping[str, str]) -> TriggerRequest:
    """Return a request with an id of its own."""
    return TriggerRequest(job, f"r{secrets.token_hex(8)}", parameters)  # never a number, as builds have


def start(controller: Controller, clock: Clock, request: TriggerRequest, say: Narrate) -> TriggeredBuild:
    """Have the request's build started, once, and return where it waits or runs.

    Raises:
        ConfigurationError: the job doesn't declare one of the parameters. Jenkins would ignore it silently.
        JenkinsError: the controller refuses, or can't be reached for long.
    """
    _check_parameters(request, controller.parameters(request.job))
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return TriggeredBuild(queue_item=controller.trigger(request.job, request.all_parameters))
        except JenkinsUnavailableError as error:
            say(f"{error}; looking whether it was accepted all the same")
            if triggered := _look_for(controller, clock, request):
                return triggered
            if attempt == _ATTEMPTS:
                raise
            say("it was not accepted: asking again")
    raise AssertionError("unreachable")


def find(controller: Controller, job: str, request_id: str) -> TriggeredBuild | None:
    """Return where a request is, ``None`` if neither the queue nor the newest builds know it.

    The queue first: what leaves it in between is found among the builds.
    """
    for item in controller.queue():
        if item.job == job and item.parameters.get(REQUEST_ID) == request_id:
            return TriggeredBuild(queue_item=item.id)
    for build in controller.builds(job, LOOK_BACK):
        if build.parameters.get(REQUEST_ID) == request_id:
            return TriggeredBuild(build=build.number)
    return None


def _look_for(controller: Controller, clock: Clock, request: TriggerRequest) -> TriggeredBuild | None:
    """Look until the request is found, or hasn't been for so long that it never arrived.

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
                    f"{error}; whether it accepted the request before is open",
                    hint=f"Once it is back: covfleet jenkins follow {request.id}",
                ) from error
            continue
        first_answer = now if first_answer is None else first_answer
        if now - first_answer > _SETTLE_S:
            return None


def _check_parameters(request: TriggerRequest, declared: tuple[str, ...]) -> None:
    missing = [name for name in request.all_parameters if name not in declared]
    if REQUEST_ID in missing:
        raise ConfigurationError(
            f"the job {request.job} has no parameter {REQUEST_ID}: its builds couldn't be found again",
            hint="Bring it up to date with `covfleet jenkins apply`.",
        )
    if missing:
        raise ConfigurationError(
            f"the job {request.job} takes no parameter {', '.join(missing)}",
            hint=f"It takes {', '.join(declared)}. A multi-job has as many shards as it was rendered for.",
        )


def locate(controller: Controller, job: str, wanted: str) -> tuple[str, TriggeredBuild]:
    """Return the request's id and the build that a human names: by its number, or by a request's id.

    The id is empty for a build that nobody requested.

    Raises:
        JenkinsError: there is no such build.
    """
    if wanted.isdecimal() and (build := controller.build(job, int(wanted))):
        return build.parameters.get(REQUEST_ID, ""), TriggeredBuild(build=build.number)
    if triggered := find(controller, job, wanted):
        return wanted, triggered
    raise JenkinsError(
        f"the job {job} has no build {wanted}, and none of its {LOOK_BACK} newest was requested with that id",
        hint="`covfleet jenkins status` lists its builds.",
    )
