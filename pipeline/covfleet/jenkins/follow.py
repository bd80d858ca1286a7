"""Follow a build from the queue to its end by polling, through restarts of the controller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from covfleet.errors import InterruptedRunError, JenkinsError, JenkinsNotFoundError, JenkinsUnavailableError
from covfleet.jenkins.outcome import code_in_console
from covfleet.jenkins.trigger import REQUEST_ID, TriggeredBuild, find
from covfleet.ports.clock import Clock
from covfleet.ports.controller import Build, Controller, QueueItem, Stage
from covfleet.store.status import BuildStatus

_LOOK_EVERY_S = 2.0
_PATIENCE_S = 900.0  # with a controller that is down
_LOOKS = 5  # after this many in a row without a result, there is nothing
_LAST_PIECES = 30
_TAIL = 100_000  # characters of console output to search for the reason of the failure

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Moment:
    """The state of a build now: waiting in the queue, or the build with its stages and shards."""

    waits_for: str = ""
    before_it: int = 0  # older items in the controller's queue
    build: Build | None = None
    stages: tuple[Stage, ...] = ()
    shards: BuildStatus | None = None


class FollowDisplay(Protocol):
    """Something that shows a build to a human."""

    def show(self, moment: Moment) -> None:
        """Show the build's progress now."""

    def say(self, line: str) -> None:
        """Show one line that stays."""

    def console(self, text: str) -> None:
        """Show a piece of the build's console output."""


@dataclass(slots=True)
class Follower:
    """Follows the build of one request of a job; ``request_id`` is empty for a build that nobody requested.

    Attributes:
        shards: returns the progress of the build's shards, or ``None`` if it is unknown.
        show_console: whether to read and show the console output as it grows.
    """

    controller: Controller
    clock: Clock
    display: FollowDisplay
    job: str
    request_id: str
    shards: Callable[[Build], BuildStatus | None]
    show_console: bool = False
    _offset: int = 0
    _tail: str = ""
    _stages: tuple[Stage, ...] = ()
    _silent_since: float | None = None

    def follow(self, triggered: TriggeredBuild) -> Build:
        """Return the build once it has ended.

        Raises:
            InterruptedRunError: it was removed from the queue.
            JenkinsError: the build is gone, or the controller doesn't come back.
        """
        number = triggered.build or self._leave_queue(triggered.queue_item)
        build = self._watch(number)
        if self.show_console:
            self._drain(number)
        return build

    def failure_code(self, build: Build) -> int | None:
        """Return the exit code of the command that made the build fail, if a console contains it."""
        if not self.show_console:
            self._tail = self._read_console(build.job, build.number)
        if (code := code_in_console(self._tail)) is not None:
            return code
        failed = [sub for sub in build.sub_builds if sub.result == "FAILURE" and sub.number]
        codes = (code_in_console(self._read_console(sub.job, sub.number)) for sub in failed)
        return next((code for code in codes if code is not None), None)

    def _leave_queue(self, number: int | None) -> int:
        """Return the build's number once it has started."""
        looks = 0
        while looks < _LOOKS:
            if item := self._patiently(self._item, number):
                looks = 0
                if item.cancelled:
                    raise InterruptedRunError(
                        f"request {self.request_id} was removed from the queue",
                        hint="Somebody cancelled it. Start another build with `covfleet jenkins run`.",
                    )
                if item.build:
                    return item.build
                self._show_waiting(item)
                self.clock.sleep(_LOOK_EVERY_S)
                continue
            looks += 1
            triggered = self._patiently(find, self.controller, self.job, self.request_id) or TriggeredBuild()
            if triggered.build:
                return triggered.build
            number = triggered.queue_item
            self.clock.sleep(_LOOK_EVERY_S)
        raise JenkinsError(
            f"request {self.request_id} of the job {self.job} is no longer in the queue nor among the builds",
            hint="Somebody may have deleted it. Start another build with `covfleet jenkins run`.",
        )

    def _item(self, number: int | None) -> QueueItem | None:
        """Return the item if it belongs to the request: after a crash the controller counts from 1 again."""
        item = self.controller.queue_item(number) if number else None
        return item if item and item.parameters.get(REQUEST_ID) == self.request_id else None

    def _show_waiting(self, item: QueueItem) -> None:
        older = sum(other.id < item.id for other in self._patiently(self.controller.queue))
        self.display.show(Moment(waits_for=item.why, before_it=older))

    def _watch(self, number: int) -> Build:
        looks = 0
        while looks < _LOOKS:
            build = self._patiently(self.controller.build, self.job, number)
            looks = 0 if build else looks + 1
            if build:
                self._show(build)
                if not build.building:
                    return build
            self.clock.sleep(_LOOK_EVERY_S)
        raise JenkinsError(
            f"{self.job} #{number} is gone from the controller",
            hint="It was deleted, or lost in a crash. Start another build with `covfleet jenkins run`.",
        )

    def _show(self, build: Build) -> None:
        try:
            self._stages = self.controller.stages(self.job, build.number) or self._stages
            if self.show_console:
                self._read_on(build.number)
        except JenkinsUnavailableError:
            pass  # the next poll reports it, or succeeds again
        self.display.show(Moment(build=build, stages=self._stages, shards=self.shards(build)))

    def _read_on(self, number: int) -> bool:
        """Show the new part of the console output, and return whether there will be more."""
        piece = self.controller.console(self.job, number, self._offset)
        self._offset = piece.offset
        self._tail = (self._tail + piece.text)[-_TAIL:]
        self.display.console(piece.text)
        return piece.more

    def _drain(self, number: int) -> None:
        for _ in range(_LAST_PIECES):
            if not self._patiently(self._read_on, number):
                return
            self.clock.sleep(_LOOK_EVERY_S)

    def _read_console(self, job: str, number: int) -> str:
        try:
            return self._patiently(self.controller.console, job, number, 0).text[-_TAIL:]
        except JenkinsNotFoundError:
            return ""

    def _patiently(self, ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Repeat the request until the controller answers; raise the last error if that takes too long."""
        while True:
            try:
                answer = ask(*args, **kwargs)
            except JenkinsUnavailableError as error:
                now = self.clock.monotonic()
                if self._silent_since is None:
                    self._silent_since = now
                    self.display.say(f"{error}; waiting for the controller to come back")
                if now - self._silent_since > _PATIENCE_S:
                    raise
                self.clock.sleep(_LOOK_EVERY_S)
            else:
                if self._silent_since is not None:
                    self._silent_since = None
                    self.display.say("the controller is back")
                return answer
