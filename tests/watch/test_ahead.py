"""Combining in advance: whatever order results come in, the end is what combining at once gives."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from covfleet.adapters.clock import SystemClock
from covfleet.adapters.folder.store import LocalStore
from covfleet.combine.build import Combination, Combined, combine_build
from covfleet.errors import IncompleteDataError, StoreError
from covfleet.model import BatchResult, DataFile, Heartbeat, ShardState
from covfleet.store.build import StoredBuild
from covfleet.store.encoding import to_json
from covfleet.store.status import BuildStatus, StatusReader
from covfleet.watch.follow import Ending, Watch, combining_ahead, follow, patiently
from support.builds import KEYS, HandmadeBuild, make_result
from support.datafiles import DAMAGE, write_data
from support.dataset_equal import raw_digest
from support.troubled_store import TroubledStore

FILES = {"app/a.py": "x = 1\ny = 2\n", "app/b.py": "z = 3\n", "t.py": "def test(): pass\n"}
BATCHES = {"1": ["t.py::a", "t.py::b"], "2": ["t.py::c"], "3": ["t.py::d"]}
ROWS = {
    "1": {"": {"app/a.py": [1], "/tmp/x.py": [1]}, "t.py::a|run": {"app/a.py": [2]}},
    "2": {"": {"/agent/app/a.py": [1], "app/b.py": [1]}, "t.py::c|run": {"/agent/app/b.py": [1]}},
    "3": {"": {"app/a.py": [1]}, "t.py::a|run": {"app/a.py": [1]}},
    "late-1": {"": {"app/b.py": [1]}},
}
ROOTS = {"2": "/agent"}


def begun(store: LocalStore, work: Path, file: Path) -> AbstractContextManager[Combination]:
    return combining_ahead(StoredBuild(store, KEYS), work, file, workers=4, narrate=pytest.fail)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def build(tmp_path: Path, store: LocalStore) -> HandmadeBuild:
    return HandmadeBuild.planned(store, tmp_path / "project", BATCHES, FILES)


@pytest.fixture
def results(tmp_path: Path, build: HandmadeBuild) -> dict[str, BatchResult]:
    """All results of the build; their data files are in the store, they themselves are not."""
    return {
        batch: make_result(
            build.plan,
            batch,
            [build.upload(write_data(tmp_path / batch, rows))],
            root=ROOTS.get(batch, ""),
            shard=number,
        )
        for number, (batch, rows) in enumerate(ROWS.items(), start=1)
    }


@pytest.fixture
def expected(tmp_path: Path, store: LocalStore, results: dict[str, BatchResult]) -> Combined:
    """What combining at once gives; the store is then as before."""
    for batch, result in results.items():
        store.put(KEYS.result(batch), to_json(result))
    combined = combine_build(StoredBuild(store, KEYS), tmp_path / "at-once", allow_partial=False, workers=4)
    for key in (*map(KEYS.result, results), KEYS.ledger, KEYS.combined):
        (tmp_path / "store" / key).unlink()
    return combined


@pytest.fixture
def ahead(tmp_path: Path, store: LocalStore, build: HandmadeBuild) -> Iterator[Combination]:
    with begun(store, tmp_path / "work", tmp_path / "ahead" / "b") as combination:
        yield combination


def test_every_order_of_arrival_gives_the_same(
    tmp_path: Path, store: LocalStore, results: dict[str, BatchResult], expected: Combined
) -> None:
    for number, order in enumerate(itertools.permutations(results)):
        work, file = tmp_path / f"work-{number}", tmp_path / f"ahead-{number}"
        for batch in order:
            (tmp_path / "store" / KEYS.result(batch)).unlink(missing_ok=True)
        for batch in order:
            with begun(store, work, file) as combination:  # anew for each result
                combination.advance()
                store.put(KEYS.result(batch), to_json(results[batch]))
        with begun(store, work, file) as combination:
            combined = combination.finish(allow_partial=False)
        assert raw_digest(combined.data_file) == raw_digest(expected.data_file)
        assert dataclasses.replace(combined.ledger, combined=None, notes=()) == dataclasses.replace(
            expected.ledger, combined=None, notes=()
        )


def test_what_was_merged_in_advance_is_neither_downloaded_nor_merged_again(
    tmp_path: Path, results: dict[str, BatchResult], expected: Combined, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched(LocalStore):
        def download(self, key: str, path: Path) -> None:
            downloaded.append(key)
            super().download(key, path)

    downloaded: list[str] = []
    store = Watched(tmp_path / "store")
    monkeypatch.setattr("covfleet.combine.build.merge", lambda *_, **__: pytest.fail("merged anew"))
    with begun(store, tmp_path / "work", tmp_path / "ahead") as combination:
        for batch in ("2", "1", "3", "late-1"):
            store.put(KEYS.result(batch), to_json(results[batch]))
            combination.advance()
        before = len(downloaded)
        combined = combination.finish(allow_partial=False)
    assert len(downloaded) == before == len(results) + 1  # and the sources
    assert raw_digest(combined.data_file) == raw_digest(expected.data_file)


def test_a_folder_that_is_known_to_be_a_shard_s_only_later_is_mapped_as_at_once(
    store: LocalStore,
    build: HandmadeBuild,
    results: dict[str, BatchResult],
    ahead: Combination,
    tmp_path: Path,
) -> None:
    early = dataclasses.replace(results["2"], root="")
    late = dataclasses.replace(results["1"], root="/agent")
    store.put(KEYS.result("2"), to_json(early))
    ahead.advance()  # /agent/app/a.py is nobody's so far
    for batch, result in {"1": late, "3": results["3"]}.items():
        store.put(KEYS.result(batch), to_json(result))
    ahead.advance()
    combined = ahead.finish(allow_partial=False)
    at_once = combine_build(StoredBuild(store, KEYS), tmp_path / "at-once", allow_partial=False, workers=4)
    assert raw_digest(combined.data_file) == raw_digest(at_once.data_file)
    assert "/agent/app/a.py" not in combined.ledger.outside


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_data_file_is_named_in_the_end_and_the_rest_stays_merged(
    store: LocalStore, results: dict[str, BatchResult], ahead: Combination, expected: Combined, damage: str
) -> None:
    key = KEYS.of_commit.data_file(results["1"].data_files[0].name)
    whole = store.get(key).data
    store.put(key, DAMAGE[damage](whole))
    for batch, result in results.items():
        store.put(KEYS.result(batch), to_json(result))
        ahead.advance()
    with pytest.raises(IncompleteDataError, match=results["1"].data_files[0].name):
        ahead.finish(allow_partial=False)
    store.put(key, whole)
    assert raw_digest(ahead.finish(allow_partial=False).data_file) == raw_digest(expected.data_file)


def test_a_missing_batch_is_named_and_may_be_left_out(
    store: LocalStore, results: dict[str, BatchResult], ahead: Combination, tmp_path: Path
) -> None:
    for batch in ("1", "3"):
        store.put(KEYS.result(batch), to_json(results[batch]))
    ahead.advance()
    with pytest.raises(IncompleteDataError, match=r"t\.py::c"):
        ahead.finish(allow_partial=False)
    combined = ahead.finish(allow_partial=True)
    assert combined.ledger.verdict == "partial"
    at_once = combine_build(StoredBuild(store, KEYS), tmp_path / "at-once", allow_partial=True, workers=4)
    assert raw_digest(combined.data_file) == raw_digest(at_once.data_file)


def test_combining_again_changes_nothing_though_it_merges_in_another_order(
    store: LocalStore, results: dict[str, BatchResult], ahead: Combination, tmp_path: Path
) -> None:
    for batch in reversed(results):
        store.put(KEYS.result(batch), to_json(results[batch]))
        ahead.advance()
    ahead.finish(allow_partial=False)
    before = {info.key: store.get(info.key).data for info in store.list("")}
    combine_build(StoredBuild(store, KEYS), tmp_path / "again", allow_partial=False, workers=4)
    assert {info.key: store.get(info.key).data for info in store.list("")} == before


def test_mixed_kinds_of_data_are_named_as_at_once(
    store: LocalStore, build: HandmadeBuild, results: dict[str, BatchResult], tmp_path: Path
) -> None:
    said: list[str] = []
    with combining_ahead(
        StoredBuild(store, KEYS), tmp_path / "work", tmp_path / "ahead", workers=4, narrate=said.append
    ) as combination:
        for batch in ("1", "3"):
            store.put(KEYS.result(batch), to_json(results[batch]))
            combination.advance()
        build.give("2", write_data(tmp_path / "branches", {"": {"app/a.py": [(1, 2)]}}, branch=True))
        combination.advance()
        assert len(said) == 1
        with pytest.raises(IncompleteDataError, match="branch data in a build that measures statement"):
            combination.finish(allow_partial=True)


def test_one_object_that_the_store_refuses_holds_up_no_other(
    tmp_path: Path, results: dict[str, BatchResult], expected: Combined
) -> None:
    class Refusing(LocalStore):
        def download(self, key: str, path: Path) -> None:
            downloads.append(key)
            if key == refused:
                raise StoreError("refused", hint="")
            super().download(key, path)

    downloads: list[str] = []
    store, refused = Refusing(tmp_path / "store"), ""
    with begun(store, tmp_path / "work", tmp_path / "ahead") as combination:
        refused = KEYS.of_commit.data_file(results["2"].data_files[0].name)
        for batch, result in results.items():
            store.put(KEYS.result(batch), to_json(result))
        for _ in range(2):
            downloads.clear()
            with pytest.raises(StoreError, match="refused"):
                combination.advance()
        assert downloads == [refused]
        refused = ""
        assert raw_digest(combination.finish(allow_partial=False).data_file) == raw_digest(expected.data_file)


def test_a_folder_where_nothing_can_be_written_only_costs_time(
    tmp_path: Path, store: LocalStore, results: dict[str, BatchResult], expected: Combined
) -> None:
    said: list[str] = []
    (tmp_path / "ahead").write_text("a file where the folder should be")
    with combining_ahead(
        StoredBuild(store, KEYS), tmp_path / "work", tmp_path / "ahead" / "b", workers=4, narrate=said.append
    ) as combination:
        for batch, result in results.items():
            store.put(KEYS.result(batch), to_json(result))
            combination.advance()
        combined = combination.finish(allow_partial=False)
    assert "can't be merged in advance" in said[0]
    assert raw_digest(combined.data_file) == raw_digest(expected.data_file)


def test_earlier_combined_data_that_is_not_sound_is_replaced(
    store: LocalStore, results: dict[str, BatchResult], ahead: Combination, expected: Combined
) -> None:
    for batch, result in results.items():
        store.put(KEYS.result(batch), to_json(result))
    garbage = b"SQLite format 3\0" + bytes(range(256)) * 64
    store.put(KEYS.combined, garbage)
    told = DataFile(".coverage", len(garbage), hashlib.sha256(garbage).hexdigest())
    store.put(KEYS.ledger, to_json(dataclasses.replace(expected.ledger, combined=told)))
    combined = ahead.finish(allow_partial=False)
    assert raw_digest(combined.data_file) == raw_digest(expected.data_file)
    assert store.get(KEYS.combined).data != garbage


def test_a_store_that_fails_for_a_moment_costs_no_more_than_time(
    tmp_path: Path, results: dict[str, BatchResult], expected: Combined
) -> None:
    class Failing(TroubledStore):
        broken = False

        def download(self, key: str, path: Path) -> None:
            if self.broken:
                raise StoreError("the store is down", hint="wait")
            super().download(key, path)

    store, said = Failing(tmp_path / "store"), []
    with begun(store, tmp_path / "work", tmp_path / "ahead") as combination:
        for batch, result in results.items():
            store.put(KEYS.result(batch), to_json(result))
            store.broken = batch != "3"
            patiently(combination.advance, said.append)
        store.broken = False
        combined = combination.finish(allow_partial=False)
    assert [line for line in said if "the store is down" in line]
    assert raw_digest(combined.data_file) == raw_digest(expected.data_file)


class Silent:
    """Shows nothing, and rehearses nothing."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    def show(self, status: BuildStatus) -> None:
        pass

    def consider(self, share: float) -> None:
        pass


def followed(combination: Combination, store: LocalStore, build: HandmadeBuild) -> Combined:
    """Follow the build until it is over; shards that are silent are gone at once."""
    watch = Watch(
        reader=StatusReader(StoredBuild(store, KEYS), build.plan),
        ending=Ending(SystemClock(), silence_s=0.1, patience_s=0.5),
        every_s=0.02,
        display=Silent(),
        narrate=pytest.fail,
        stop=threading.Event(),
    )
    notes = follow(combination, Silent(), watch)
    return combination.finish(allow_partial=False, notes=notes)


@pytest.mark.parametrize(("state", "noted"), [("running", True), ("finished", False)])
def test_a_shard_that_fell_silent_at_the_end_is_named_in_the_ledger(
    store: LocalStore, build: HandmadeBuild, results: dict, ahead: Combination, state: ShardState, noted: bool
) -> None:
    for batch, result in results.items():
        store.put(KEYS.result(batch), to_json(result))
    store.put(KEYS.shard(2), to_json(Heartbeat(2, "token", beat=3, state=state)))
    ledger = followed(ahead, store, build).ledger
    assert ledger.verdict == "complete"
    assert any("went silent" in note and "shard 2" in note for note in ledger.notes) == noted


def test_a_heartbeat_that_cannot_be_read_is_no_sign_of_life_and_no_end(
    store: LocalStore, build: HandmadeBuild, results: dict, ahead: Combination
) -> None:
    for batch, result in results.items():
        store.put(KEYS.result(batch), to_json(result))
    store.put(KEYS.shard(1), b'{"shard": 1, "tok')
    assert followed(ahead, store, build).ledger.verdict == "complete"
