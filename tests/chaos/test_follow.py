"""``covfleet combine --follow`` beside real shards: killed at any moment, interrupted, started too early."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from random import Random

from covfleet.combine.growing import Growing
from covfleet.errors import IncompleteDataError, InterruptedRunError
from covfleet.model import Ledger
from covfleet.store.encoding import from_json
from support.dataset_equal import raw_digest
from support.processes import covfleet, start_covfleet, wait_for
from support.runs import Build
from support.spread import TESTS, Planned, digest_of_complete


def flags(build: Build) -> list[str]:
    where = ["--project", f"{build.project}", "--store", build.store.url]
    return [*where, "--commit", build.keys.commit, "--build", build.keys.build]


def start_following(build: Build, log: Path, *more: str) -> subprocess.Popen[bytes]:
    return start_covfleet("combine", "--follow", *flags(build), *more, log=log)


def merged_in(file: Path) -> int:
    """Return how many data files another process has merged into the file that it grows."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as growing:
            return int(growing.execute("select count(data) from covfleet_merged").fetchone()[0])
    except sqlite3.OperationalError:  # it isn't there yet, or being written
        return 0


def check_complete(planned: Planned, build: Build) -> None:
    """The result is what an undisturbed build gives, here and in the store; combining again keeps it."""
    ledger = from_json(Ledger, build.store.get(build.keys.ledger).data, name="ledger")
    assert (ledger.verdict, ledger.outcomes) == ("complete", {"passed": TESTS})
    assert raw_digest(build.project / ".covfleet" / ".coverage") == planned.digest
    stored = build.store.get(build.keys.combined)
    assert digest_of_complete(build) == planned.digest
    assert build.store.get(build.keys.combined).data == stored.data
    ahead = build.project / ".covfleet" / "ahead"
    assert [path for path in ahead.rglob("*") if path.is_file()] == []


def test_it_may_be_killed_at_any_moment_and_goes_on_where_it_was(planned: Planned, tmp_path: Path) -> None:
    build, chance = planned.copy(tmp_path), Random("follow")
    shards = [threading.Thread(target=build.run_shard, args=(planned.plan, shard)) for shard in (1, 2)]
    for shard in shards:
        shard.start()
    kills = 0
    try:
        while any(shard.is_alive() for shard in shards):
            follower = start_following(build, tmp_path / "log")
            time.sleep(chance.uniform(0.3, 1.2))
            kills += follower.poll() is None
            follower.kill()
            follower.wait()
    finally:
        for shard in shards:
            shard.join()
    assert kills
    last = start_following(build, tmp_path / "log")
    assert last.wait(60) == 0, (tmp_path / "log").read_text()
    check_complete(planned, build)


def test_it_waits_for_the_plan_and_ends_with_the_last_shard(planned: Planned, tmp_path: Path) -> None:
    build = planned.copy(tmp_path)
    build.keys = build.keys.of_commit.build("b2")  # which has no plan yet
    follower = start_following(build, tmp_path / "log", "--wait", "60")
    plan = build.plan()
    for shard in (1, 2):
        assert follower.poll() is None, (tmp_path / "log").read_text()
        build.run_shard(plan, shard)
    assert follower.wait(60) == 0, (tmp_path / "log").read_text()
    check_complete(planned, build)


def test_interrupted_it_ends_with_130_and_keeps_what_was_merged(planned: Planned, tmp_path: Path) -> None:
    build = planned.copy(tmp_path)
    build.run_shard(planned.plan)
    store = Path(build.store.url)
    result = store / build.keys.result(planned.plan.batches[0].id)
    result.rename(tmp_path / "held back")
    (store / build.keys.shard(1)).unlink()  # it hasn't said that it has ended
    follower = start_following(build, tmp_path / "log")
    file = build.project / ".covfleet" / "ahead" / build.keys.commit / build.keys.build
    there = {data.sha256 for result in build.results().values() for data in result.data_files}
    wait_for(lambda: merged_in(file) == len(there), "that all is merged that is there")
    follower.send_signal(signal.SIGINT)
    assert follower.wait(30) == InterruptedRunError.exit_code
    assert "run the same command again to resume" in (tmp_path / "log").read_text()
    with Growing(file, f"{build.keys.commit}/{build.keys.build}") as growing:
        assert growing.merged
    (tmp_path / "held back").rename(result)
    assert start_following(build, tmp_path / "log").wait(60) == 0
    check_complete(planned, build)


def test_when_no_shard_is_left_what_is_missing_is_named(planned: Planned, tmp_path: Path) -> None:
    build = planned.copy(tmp_path)
    done = covfleet(tmp_path, "combine", "--follow", *flags(build), "--patience", "0.5")
    assert done.returncode == IncompleteDataError.exit_code
    assert "missing" in done.stderr


def test_waiting_for_a_plan_needs_to_know_which(planned: Planned, tmp_path: Path) -> None:
    done = covfleet(planned.copy(tmp_path).project, "combine", "--follow", "--wait", "5")
    assert done.returncode == 2
    assert "--wait needs --build" in done.stderr
