"""Shards that arrive twice, late or never, lose the store for a while, or live by another clock."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from covfleet.adapters.clock import SystemClock
from covfleet.errors import StoreError
from covfleet.model import BatchResult, Claim, Heartbeat
from covfleet.shard.agent import run_shard
from covfleet.store.build import StoredBuild
from covfleet.store.encoding import from_json
from covfleet.store.keys import is_late
from support.processes import wait_for
from support.runs import Build, lines_of, new_build, write_project
from support.spread import Planned, digest_of_complete
from support.troubled_store import TroubledStore


def claims(build: Build) -> list[Claim]:
    found = build.store.list(build.keys.claims)
    return [from_json(Claim, build.store.get(info.key).data, name=info.key) for info in found]


def test_a_shard_that_never_arrives_costs_only_time_and_one_that_comes_too_late_runs_nothing(
    planned: Planned, tmp_path: Path
) -> None:
    build = planned.copy(tmp_path)
    assert planned.plan.deals[0]
    assert build.run_shard(planned.plan, 2).state == "finished"
    assert digest_of_complete(build) == planned.digest
    results = build.results()
    late = build.run_shard(planned.plan, 1)
    assert (late.state, late.batches_done) == ("finished", 0)
    assert build.results() == results


class HourAhead(SystemClock):
    """The clock of a machine on which nobody ever set it."""

    def now(self) -> datetime.datetime:
        return super().now() + datetime.timedelta(hours=1)

    def monotonic(self) -> float:
        return super().monotonic() + 3600


def test_a_clock_that_is_an_hour_wrong_takes_nothing_from_the_living(
    planned: Planned, tmp_path: Path
) -> None:
    build = planned.copy(tmp_path)
    build.settings = build.settings.model_copy(update={"lease_s": 60.0})  # however loaded the machine is
    right, wrong = (build.request(planned.plan, shard) for shard in (1, 2))
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(run_shard, (right, replace(wrong, clock=HourAhead()))))
    assert [heartbeat.state for heartbeat in ended] == ["finished", "finished"]
    assert not [claim for claim in claims(build) if claim.takes_over]
    assert digest_of_complete(build) == planned.digest


FILES = {
    "app.py": """
        def double(x):
            if x > 1:
                return 2 * x
            return x + x
    """,
    "test_x.py": """
        import os, pathlib, time
        from app import double
        def test_waits_when_it_first_runs():
            here = pathlib.Path(os.environ["HERE"])
            first = not (here / "begun").exists()
            (here / "begun").touch()
            double(1)
            while first and not (here / "released").exists():
                time.sleep(0.02)
            double(3)
    """,
}


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A planned build of one test, whose first attempt waits until it is released."""
    build = new_build(write_project(tmp_path / "project", FILES), env={"HERE": f"{tmp_path}"})
    build.store = TroubledStore(tmp_path / "store")
    build.plan()
    return build


@contextmanager
def shard_in_the_middle(planned: Build, folder: Path, **changes: object) -> Iterator[Future[Heartbeat]]:
    """Start shard 1 with these changes to its request; yield when it runs the test, and then release it."""
    request = replace(planned.request(StoredBuild(planned.store, planned.keys).plan(), 1), **changes)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_shard, request)
        try:
            wait_for((folder / "begun").exists, "the first attempt at the test")
            yield running
        finally:
            (folder / "released").touch()


def result_of_the_batch(build: Build) -> BatchResult:
    """Return the one result of the one batch; fail unless it makes the build complete."""
    [result] = [result for batch, result in build.results().items() if not is_late(batch)]
    combined = build.combine()
    assert combined.ledger.verdict == "complete"
    assert lines_of(combined.data_file)["app.py"] == [2, 3, 4, 5]
    return result


def cut(key: str) -> None:
    raise StoreError(f"can't write {key}: no route to host")


def test_a_shard_that_comes_back_after_its_lease_was_taken_changes_nothing(
    build: Build, tmp_path: Path
) -> None:
    store = TroubledStore(tmp_path / "store")
    with shard_in_the_middle(build, tmp_path, build=StoredBuild(store, build.keys)) as running:
        store.before_write = cut
        assert build.run_shard(StoredBuild(build.store, build.keys).plan(), 2).state == "finished"
        store.before_write = lambda key: None
    assert running.result().state == "finished"
    assert any("can't write the heartbeat" in said for said in build.said)
    assert any("another shard finished batch" in said for said in build.said)
    assert result_of_the_batch(build).shard == 2


def test_a_shard_that_stays_cut_off_ends_with_the_store_s_error(build: Build, tmp_path: Path) -> None:
    store = TroubledStore(tmp_path / "store")
    with shard_in_the_middle(build, tmp_path, build=StoredBuild(store, build.keys)) as running:
        store.before_write = cut
    with pytest.raises(StoreError, match="no route to host"):
        running.result()
    assert build.results() == {}
    assert build.run_shard(StoredBuild(build.store, build.keys).plan(), 2).state == "finished"
    assert result_of_the_batch(build).shard == 2


def test_two_attempts_at_a_shard_that_both_finish_count_once(build: Build, tmp_path: Path) -> None:
    unaware = build.settings.model_copy(update={"heartbeat_s": 600.0})  # never sees that it is superseded
    with shard_in_the_middle(build, tmp_path, settings=unaware) as running:
        second = build.run_shard(StoredBuild(build.store, build.keys).plan(), 1)
    first = running.result()
    assert (first.state, second.state) == ("finished", "finished")
    assert first.token != second.token
    assert result_of_the_batch(build).token == second.token
