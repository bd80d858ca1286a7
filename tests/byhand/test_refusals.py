"""What the combiner by hand says, and with which exit code, when it can't do what it was asked for."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator

import pytest
from covfleet.model import Heartbeat
from covfleet.store.encoding import to_json
from support.builds import HandmadeBuild
from support.left_builds import COMMIT, Covfleet, Place, Shards, content


def leave_heartbeat(build: HandmadeBuild, state: str, beat: int = 1) -> None:
    heartbeat = Heartbeat(2, "token", beat, state)  # type: ignore[arg-type]
    build.store.put(build.keys.shard(2), to_json(heartbeat))


@contextlib.contextmanager
def beating(build: HandmadeBuild) -> Iterator[None]:
    """Be a shard that is at work."""
    done = threading.Event()

    def beat() -> None:
        number = 1
        while not done.wait(0.1):
            number += 1
            leave_heartbeat(build, "running", number)

    leave_heartbeat(build, "running")
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("command", ["builds", "recombine"])
def test_a_commit_that_the_store_does_not_have_ends_with_2(command: str, covfleet: Covfleet) -> None:
    said = covfleet(command, "abc")
    assert said.code == 2
    assert "has no build of commit abc" in said.err
    assert "--store" in said.err


@pytest.mark.parametrize("command", ["builds", "recombine"])
def test_an_abbreviated_commit_is_completed(command: str, covfleet: Covfleet, shards: Shards) -> None:
    shards.finish(shards.plan("17"))
    said = covfleet(command, COMMIT[:8])
    assert said.code == 2
    assert f"Perhaps you meant {COMMIT}." in said.err


def test_data_without_a_plan_needs_a_checkout_and_is_told_so(
    covfleet: Covfleet, place: Place, shards: Shards
) -> None:
    place.store.put(f"{COMMIT}/.coverage.host.1.x", b"whatever")
    said = covfleet("recombine", COMMIT)
    assert said.code == 2
    assert "in a checkout of that commit" in said.err


def test_a_build_that_does_not_exist_ends_with_2_and_names_those_that_do(
    covfleet: Covfleet, shards: Shards
) -> None:
    shards.finish(shards.plan("17"))
    shards.plan("18", hour=4)
    said = covfleet("recombine", COMMIT, "--build", "19")
    assert said.code == 2
    assert "has no build 19" in said.err
    assert "18, 17" in said.err


def test_missing_batches_end_with_5_and_are_named(covfleet: Covfleet, place: Place, shards: Shards) -> None:
    build = shards.finish(shards.plan("17"), "1")
    leave_heartbeat(build, "failed")
    before = content(place.store)
    said = covfleet("recombine", COMMIT)
    assert said.code == 5
    assert "1 of 2 batches done" in said.err
    assert "batch 2, 1 test, dealt to shard 2" in said.err
    assert "--allow-partial" in said.err
    assert content(place.store) == before


def test_a_shard_that_is_at_work_ends_with_5_and_is_named(covfleet: Covfleet, shards: Shards) -> None:
    build = shards.finish(shards.plan("17"), "1")
    with beating(build):
        said = covfleet("recombine", COMMIT)
    assert said.code == 5
    assert "still running: 1 of 2 batches done, shard 2 working" in said.err


def test_a_build_whose_shards_deliver_their_last_data_is_still_running(
    covfleet: Covfleet, shards: Shards
) -> None:
    build = shards.finish(shards.plan("17"))
    with beating(build):
        said = covfleet("recombine", COMMIT)
    assert said.code == 5
    assert "still running: 2 of 2 batches" in said.err


def test_a_shard_that_is_gone_does_not_stop_a_complete_build(covfleet: Covfleet, shards: Shards) -> None:
    leave_heartbeat(shards.finish(shards.plan("17")), "running")
    said = covfleet("recombine", COMMIT)
    assert said.code == 0, said.err
    assert "whether a shard is still working" in said.err


def test_damaged_data_ends_with_5_and_is_named_and_nothing_is_published(
    covfleet: Covfleet, place: Place, shards: Shards, tmp_path_factory: pytest.TempPathFactory
) -> None:
    build = shards.finish(shards.plan("17"))
    site = tmp_path_factory.mktemp("site")
    [key, *_] = [info.key for info in place.store.list(build.keys.of_commit.data_prefix)]
    data = bytearray(place.store.get(key).data)
    data[5000] ^= 1
    place.store.put(key, bytes(data))
    said = covfleet("recombine", COMMIT, "--site", str(site))
    assert said.code == 5
    assert key.rpartition("/")[2] in said.err
    assert "SHA-256" in said.err
    assert list(site.iterdir()) == []


def test_a_damaged_plan_is_listed_and_passed_over_and_refused_when_it_is_asked_for(
    covfleet: Covfleet, place: Place, shards: Shards
) -> None:
    shards.finish(shards.plan("17"))
    damaged = shards.plan("18", hour=4)
    place.store.put(damaged.keys.plan, b"{")
    listed = covfleet("builds", COMMIT)
    assert listed.code == 0
    assert "18" in listed.out
    assert "unreadable: " in listed.out
    assert covfleet("recombine", COMMIT).out.startswith("build      17 ")
    said = covfleet("recombine", COMMIT, "--build", "18")
    assert said.code == 5
    assert "isn't a valid Plan" in said.err


def test_a_damaged_ledger_is_written_anew(covfleet: Covfleet, place: Place, shards: Shards) -> None:
    build = shards.finish(shards.plan("17"))
    place.store.put(build.keys.ledger, b"<html>")
    assert "its ledger is damaged" in covfleet("builds", COMMIT).out
    assert covfleet("recombine", COMMIT).code == 0
    assert "combined: complete" in covfleet("builds", COMMIT).out


def test_a_hostile_branch_name_stays_in_its_line(covfleet: Covfleet, shards: Shards) -> None:
    build = shards.finish(shards.plan("17"))
    hostile = dataclasses.replace(build.plan, branch="a\n\x1b[2Jb")
    build.store.put(build.keys.plan, to_json(hostile))
    [_, line] = covfleet("builds", COMMIT).out.splitlines()
    assert r"a\n\x1b[2Jb" in line


def test_the_folder_of_other_results_is_not_overwritten(
    covfleet: Covfleet, shards: Shards, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shards.finish(shards.plan("17"))
    output = tmp_path_factory.mktemp("output")
    (output / ".coverage").write_bytes(b"mine")
    said = covfleet("recombine", COMMIT, "--output", str(output))
    assert said.code == 2
    assert (output / ".coverage").read_bytes() == b"mine"


@pytest.mark.parametrize("commit", ["../x", "a/b", "-x", "$(id)"])
def test_a_commit_with_path_or_shell_syntax_ends_with_2(commit: str, covfleet: Covfleet) -> None:
    assert covfleet("recombine", "--", commit).code == 2


def test_two_builds_of_one_moment_are_ordered_by_name(covfleet: Covfleet, shards: Shards) -> None:
    for name in ("b", "a"):
        shards.finish(shards.plan(name))
    assert [line.split()[0] for line in covfleet("builds", COMMIT).out.splitlines()[1:]] == ["b", "a"]
