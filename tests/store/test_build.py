"""One door to a build: what "absent" and "damaged" mean is the same for every document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from covfleet.adapters.folder.store import LocalStore
from covfleet.errors import ConfigurationError, IncompleteDataError, PipelineError
from covfleet.model import Claim, Heartbeat, Ledger
from covfleet.store.build import StoredBuild
from covfleet.store.commit import StoredCommit
from covfleet.store.encoding import to_json
from support.builds import KEYS, make_plan

FINDERS: dict[str, tuple[str, Callable[[StoredBuild], object]]] = {
    "plan": (KEYS.plan, StoredBuild.find_plan),
    "ledger": (KEYS.ledger, StoredBuild.find_ledger),
    "manifest": (KEYS.manifest, StoredBuild.find_manifest),
    "heartbeat": (KEYS.shard(1), lambda build: build.find_heartbeat(1)),
}
GETTERS: dict[str, tuple[Callable[[StoredBuild], object], type[PipelineError], str]] = {
    "plan": (StoredBuild.plan, ConfigurationError, "covfleet plan"),
    "ledger": (StoredBuild.ledger, IncompleteDataError, "covfleet combine"),
    "reports": (StoredBuild.reported, IncompleteDataError, "covfleet report"),
}


@pytest.fixture
def build(tmp_path: Path) -> StoredBuild:
    return StoredBuild(LocalStore(tmp_path / "store"), KEYS)


@pytest.mark.parametrize("document", FINDERS)
def test_what_is_absent_is_found_to_be_none(build: StoredBuild, document: str) -> None:
    assert FINDERS[document][1](build) is None


@pytest.mark.parametrize("document", GETTERS)
def test_who_needs_what_is_absent_is_told_which_command_makes_it(build: StoredBuild, document: str) -> None:
    get, kind, command = GETTERS[document]
    with pytest.raises(kind) as told:
        get(build)
    assert command in told.value.hint


@pytest.mark.parametrize("document", FINDERS)
def test_what_is_damaged_is_never_absent(build: StoredBuild, document: str) -> None:
    key, find = FINDERS[document]
    build.store.put(key, b"{]")
    with pytest.raises(IncompleteDataError, match=key):
        find(build)


def test_the_plan_of_another_build_is_refused(build: StoredBuild) -> None:
    build.store.put(KEYS.plan, to_json(make_plan({"1": ["t"]}, build="another")))
    with pytest.raises(IncompleteDataError, match="is the plan of build another"):
        build.plan()


def test_the_first_plan_stands(build: StoredBuild, tmp_path: Path) -> None:
    archive = tmp_path / "sources"
    archive.write_bytes(b"sources")
    first, second = (make_plan({"1": [test]}) for test in ("t::first", "t::second"))
    assert build.keep_plan(first, archive) == build.keep_plan(second, archive) == first
    assert StoredCommit.of(build).planned() == (build.name,)


def test_a_claim_is_taken_over_from_the_holder_that_was_seen_and_from_no_other(build: StoredBuild) -> None:
    assert build.claim(Claim("00001", 1, "one"))
    assert not build.claim(Claim("00001", 2, "two"))
    seen = build.held_claim("00001")
    assert build.take_over(seen, Claim("00001", 2, "two", takes_over="one"))
    assert build.take_over(seen, Claim("00001", 2, "two", takes_over="one"))  # its own answer may be lost
    assert not build.take_over(seen, Claim("00001", 3, "three", takes_over="one"))
    assert build.held_claim("00001").value.token == "two"
    assert build.claimed() == {"00001"}


def test_only_heartbeats_of_shards_are_signs_of_life(build: StoredBuild) -> None:
    build.put_heartbeat(Heartbeat(3, "token", beat=1, state="running"), None)
    build.store.put(f"{KEYS.shards}notes.json", b"{}")
    build.store.put(f"{KEYS.shards}²{'.json'}", b"{}")
    assert set(build.beats()) == {3}


def test_a_heartbeat_of_an_earlier_version_is_read(build: StoredBuild) -> None:
    """It said how many tests its shard held, which nobody asked."""
    beat = b'{"shard": 1, "token": "token", "beat": 4, "state": "running", "tests_held": 3}'
    build.store.put(KEYS.shard(1), beat)
    found = build.find_heartbeat(1)
    assert found is not None
    assert found.value == Heartbeat(1, "token", 4, "running")


def test_a_ledger_without_reports_is_no_report(build: StoredBuild) -> None:
    build.put_ledger(Ledger(KEYS.commit, KEYS.build, "main", "complete", tests_planned=1))
    assert build.ledger().verdict == "complete"
    with pytest.raises(IncompleteDataError, match="has no reports"):
        build.reported()
