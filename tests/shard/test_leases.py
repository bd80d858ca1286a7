"""Who may take whose batch: claims, silence, takeover; and two attempts at one shard."""

from __future__ import annotations

import datetime
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from covfleet.adapters.folder.store import LocalStore
from covfleet.model import Batch, Claim, Environment, Heartbeat, Measurement, Plan
from covfleet.shard.heart import Heart
from covfleet.shard.leases import Leases, Silence, steal_order
from covfleet.store.build import StoredBuild
from covfleet.store.encoding import from_json, to_json
from covfleet.store.keys import CommitKeys

KEYS = CommitKeys("c0ffee").build("b1")
LEASE_S = 30.0


class HandClock:
    """A clock that a test moves; its wall clock is an hour wrong, which must not matter."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime.datetime:
        return datetime.datetime(2020, 1, 1, 1, tzinfo=datetime.UTC)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path)


@pytest.fixture
def clock():
    return HandClock()


def leases(store, clock, shard, token):
    return Leases(StoredBuild(store, KEYS), shard, token, Silence(clock, LEASE_S))


def beat(store, shard, token, number, state="running"):
    store.put(KEYS.shard(shard), to_json(Heartbeat(shard, token, number, state)))


def test_of_many_shards_that_claim_a_batch_at_once_exactly_one_has_it(store, clock):
    contenders = [leases(store, clock, shard, f"token{shard}") for shard in range(1, 17)]
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda contender: contender.claim("00001"), contenders))
    assert won.count(True) == 1


def test_a_claim_whose_answer_was_lost_is_still_ours(store, clock):
    ours = leases(store, clock, 1, "mine")
    assert ours.claim("00001")
    assert ours.claim("00001")  # the retry of a put that had succeeded


def test_a_batch_of_a_living_shard_is_never_taken_however_long_it_works(store, clock):
    leases(store, clock, 1, "alive").claim("00001")
    thief = leases(store, clock, 2, "thief")
    for number in range(1, 50):
        beat(store, 1, "alive", number)
        assert not thief.take_over("00001")
        clock.seconds += LEASE_S - 1


def test_a_batch_of_a_silent_shard_is_taken_after_the_lease_and_not_before(store, clock):
    leases(store, clock, 1, "silent").claim("00001")
    beat(store, 1, "silent", 7)
    thief = leases(store, clock, 2, "thief")
    assert not thief.take_over("00001")  # the first look only starts our own clock
    clock.seconds += LEASE_S - 0.1
    assert not thief.take_over("00001")
    clock.seconds += 0.2
    assert thief.take_over("00001")
    claim = from_json(Claim, store.get(KEYS.claim("00001")).data, name="claim")
    assert (claim.token, claim.takes_over) == ("thief", "silent")


def test_a_shard_that_claimed_and_never_beat_is_silent_too(store, clock):
    leases(store, clock, 1, "stillborn").claim("00001")
    thief = leases(store, clock, 2, "thief")
    assert not thief.take_over("00001")
    clock.seconds += LEASE_S
    assert thief.take_over("00001")


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_a_batch_of_a_shard_that_has_ended_is_taken_at_once(store, clock, state):
    leases(store, clock, 1, "gone").claim("00001")
    beat(store, 1, "gone", 7, state)
    assert leases(store, clock, 2, "thief").take_over("00001")


def test_a_batch_of_an_earlier_attempt_at_a_shard_is_taken_at_once(store, clock):
    leases(store, clock, 1, "first-attempt").claim("00001")
    beat(store, 1, "second-attempt", 1)
    assert leases(store, clock, 1, "second-attempt").take_over("00001")


def test_of_two_shards_that_take_over_at_once_one_has_it(store, clock):
    leases(store, clock, 1, "gone").claim("00001")
    beat(store, 1, "gone", 7, "stopped")
    thieves = [leases(store, clock, shard, f"thief{shard}") for shard in range(2, 10)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda thief: thief.take_over("00001"), thieves))
    holder = from_json(Claim, store.get(KEYS.claim("00001")).data, name="claim").token
    assert [f"thief{shard}" for shard, mine in enumerate(won, 2) if mine] == [holder]


def test_a_second_attempt_at_a_shard_ends_the_first(store):
    first_was_told = threading.Event()

    def heart(token, superseded):
        beat = Heartbeat(3, token, beat=0, state="starting")
        return Heart(StoredBuild(store, KEYS), beat, every_s=0.02, superseded=superseded, narrate=print)

    with heart("first", first_was_told.set) as first, heart("second", lambda: None) as second:
        assert first_was_told.wait(5)
        first.end("stopped", "superseded")
        last = from_json(Heartbeat, store.get(KEYS.shard(3)).data, name="heartbeat")
        assert last.token == "second"  # the first attempt's last word doesn't speak for the second
        second.end("finished")


def plan_of(deals):
    batches = tuple(Batch(batch, (f"{batch}.py::t",), length) for deal in deals for batch, length in deal)
    return Plan(
        commit="c",
        build="b",
        branch="main",
        created_at="2026-01-01T00:00:00+00:00",
        executor="process",
        image="",
        environment=Environment("3.12", "8", "7.11"),
        measurement=Measurement(False, False, "ctrace"),
        pytest_args=(),
        sources=(),
        batches=batches,
        deals=tuple(tuple(batch for batch, _ in deal) for deal in deals),
    )


def test_stealing_takes_from_the_tail_of_the_shard_with_most_left():
    plan = plan_of([[("a1", 9.0), ("a2", 5.0), ("a3", 1.0)], [("b1", 8.0), ("b2", 2.0)]])
    assert steal_order(plan, ["a2", "a3", "b1", "b2"]) == ("b2", "b1", "a3", "a2")
    assert steal_order(plan, ["a1", "a2", "a3", "b2"]) == ("a3", "a2", "a1", "b2")
    assert steal_order(plan, []) == ()
