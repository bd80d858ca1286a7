"""When nothing more will come of a build: told by what shards say and by our own clock alone."""

from __future__ import annotations

import datetime

import pytest
from covfleet.model import Heartbeat, ShardState
from covfleet.store.status import BuildStatus, ShardStatus
from covfleet.watch.follow import Ending

SILENCE_S = 30.0
PATIENCE_S = 600.0


class HandClock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime.datetime:
        raise AssertionError("wall clocks differ between machines")

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ending(clock: HandClock) -> Ending:
    return Ending(clock, SILENCE_S, PATIENCE_S)


def status(done: int, *shards: tuple[ShardState, int] | None) -> BuildStatus:
    """Return a build of two batches, with the state and the beat of each shard; ``None``: not there yet."""
    beats = [
        ShardStatus(number, 1, said and Heartbeat(number, f"token-{number}", beat=said[1], state=said[0]))
        for number, said in enumerate(shards, start=1)
    ]
    return BuildStatus(tests=2, batches=2, batches_done=done, shards=tuple(beats))


def test_a_complete_build_whose_shards_have_ended_is_over_at_once(ending: Ending) -> None:
    assert ending.reached(status(2, ("finished", 7), ("finished", 9)))


def test_a_shard_that_never_came_keeps_a_complete_build_from_nothing(ending: Ending) -> None:
    assert ending.reached(status(2, ("finished", 7), None))


def test_a_live_shard_may_still_deliver_what_its_subprocesses_wrote(ending: Ending, clock: HandClock) -> None:
    for beat in range(20):
        assert not ending.reached(status(2, ("finished", 7), ("waiting", beat)))
        clock.sleep(SILENCE_S / 3)
    assert ending.reached(status(2, ("finished", 7), ("finished", 20)))


def test_a_shard_that_fell_silent_is_not_waited_for_longer_than_its_lease(
    ending: Ending, clock: HandClock
) -> None:
    assert not ending.reached(status(1, ("running", 5), ("running", 5)))
    clock.sleep(SILENCE_S)
    assert not ending.reached(status(1, ("running", 6), ("running", 5)))
    assert ending.reached(status(2, ("finished", 7), ("running", 5)))  # silent since before the end


def test_lost_shards_are_waited_for_with_patience_because_others_may_come(
    ending: Ending, clock: HandClock
) -> None:
    assert not ending.reached(status(1, ("running", 5), None))
    clock.sleep(PATIENCE_S - 1)
    assert not ending.reached(status(1, ("running", 5), None))
    assert not ending.reached(status(1, ("running", 5), ("starting", 1)))  # one did
    clock.sleep(PATIENCE_S - 1)
    assert not ending.reached(status(1, ("running", 5), ("starting", 1)))
    clock.sleep(1)
    assert ending.reached(status(1, ("running", 5), ("starting", 1)))


def test_a_new_attempt_at_a_shard_is_a_sign_of_life_though_it_counts_from_one(
    ending: Ending, clock: HandClock
) -> None:
    assert not ending.reached(status(1, ("running", 1)))
    clock.sleep(PATIENCE_S)
    again = Heartbeat(1, "another token", beat=1, state="running")
    assert not ending.reached(BuildStatus(2, 2, 1, (ShardStatus(1, 1, again),)))


def test_when_all_shards_have_ended_before_the_end_nobody_waits_for_long(
    ending: Ending, clock: HandClock
) -> None:
    assert not ending.reached(status(1, ("failed", 5), ("stopped", 5)))
    clock.sleep(SILENCE_S)
    assert ending.reached(status(1, ("failed", 5), ("stopped", 5)))
