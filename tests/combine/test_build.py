"""Combining a build from a store: complete, or refused by name with nothing else changed."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest
from covfleet.adapters.folder.store import LocalStore
from covfleet.combine.build import Combined, combine_build
from covfleet.errors import ConfigurationError, IncompleteDataError
from covfleet.model import Ledger
from covfleet.store.build import StoredBuild
from covfleet.store.commit import StoredCommit
from covfleet.store.encoding import from_json, to_json
from covfleet.store.keys import CommitKeys, timings
from support.builds import KEYS, HandmadeBuild, make_plan, make_result
from support.datafiles import DAMAGE, HOSTILE, tampered, write_data
from support.dataset_equal import api_view, raw_digest
from support.troubled_store import TroubledStore

FILES = {"app/a.py": "x = 1\ny = 2\n", "app/b.py": "z = 3\n", "t.py": "def test(): pass\n"}
BATCHES = {"1": ["t.py::a", "t.py::b"], "2": ["t.py::c"]}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def build(tmp_path: Path, store: LocalStore) -> HandmadeBuild:
    return HandmadeBuild.planned(store, tmp_path / "project", BATCHES, FILES)


@pytest.fixture
def complete(tmp_path: Path, build: HandmadeBuild) -> HandmadeBuild:
    build.give("1", write_data(tmp_path / "1", {"": {"app/a.py": [1], "/tmp/x.py": [1]}}), shard=1)
    build.give("2", write_data(tmp_path / "2", {"": {"app/a.py": [2], "app/b.py": [1]}}), shard=2)
    return build


def combine(store: LocalStore, workdir: Path, *, allow_partial: bool = False) -> Combined:
    return combine_build(StoredBuild(store, KEYS), workdir, allow_partial=allow_partial, workers=4)


def stored_ledger(store: LocalStore) -> Ledger:
    return from_json(Ledger, store.get(KEYS.ledger).data, name=KEYS.ledger)


def content(store: LocalStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key).data for info in store.list("")}


def refused(store: LocalStore, workdir: Path, *, allow_partial: bool = False) -> IncompleteDataError:
    """Combine; expect a refusal that changes nothing in the store but the ledger."""
    before = content(store)
    with pytest.raises(IncompleteDataError) as caught:
        combine(store, workdir, allow_partial=allow_partial)
    after = content(store)
    after.pop(KEYS.ledger)
    before.pop(KEYS.ledger, None)
    assert after == before
    assert not (workdir / ".coverage").exists()
    assert caught.value.exit_code == 5
    return caught.value


def data_key(store: LocalStore, number: int) -> str:
    return [info.key for info in store.list(KEYS.of_commit.data_prefix)][number]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_data_file_is_named_and_nothing_is_published(
    tmp_path: Path, store: LocalStore, complete: StoredBuild, damage: str
) -> None:
    key = data_key(store, 0)
    store.put(key, DAMAGE[damage](store.get(key).data))
    error = refused(store, tmp_path / "work")
    assert key.rpartition("/")[2] in str(error)
    assert stored_ledger(store).verdict == "partial"
    assert [problem.kind for problem in stored_ledger(store).problems] == ["corrupt"]


@pytest.mark.parametrize(
    "trick", ["a view that recurses", "a trigger", "enormous line numbers", "NUL in a path"]
)
def test_a_hostile_data_file_is_named_although_its_hash_is_right(
    tmp_path: Path, store: LocalStore, build: HandmadeBuild, trick: str
) -> None:
    bad = tampered(write_data(tmp_path / "bad", {"": {"app/a.py": [1], "app/b.py": [1]}}), HOSTILE[trick][0])
    result = build.give("1", bad)
    build.give("2")
    assert result.data_files[0].name in str(refused(store, tmp_path / "work"))


def test_a_file_of_another_size_is_not_even_downloaded(
    tmp_path: Path, store: LocalStore, complete: StoredBuild
) -> None:
    class Watched(LocalStore):
        def download(self, key: str, path: Path) -> None:
            assert key != grown
            super().download(key, path)

    grown = data_key(store, 0)
    store.put(grown, bytes(1_000_000))
    assert "has 1000000 bytes" in str(refused(Watched(tmp_path / "store"), tmp_path / "work"))


def test_a_missing_shard_is_named_by_its_tests(
    tmp_path: Path, store: LocalStore, build: HandmadeBuild
) -> None:
    build.give("1", write_data(tmp_path / "1", {"": {"app/a.py": [1]}}))
    error = refused(store, tmp_path / "work")
    assert "partial: 1 missing" in str(error)
    assert "t.py::c" in str(error)
    assert "shard 2" in str(error)
    assert "--allow-partial" in error.hint


def test_a_missing_data_file_is_named(tmp_path: Path, store: LocalStore, complete: StoredBuild) -> None:
    name = data_key(store, 1).rpartition("/")[2]
    (tmp_path / "store" / data_key(store, 1)).unlink()
    assert f"missing: {name}" in str(refused(store, tmp_path / "work"))


def test_many_problems_are_counted_and_the_first_ones_named(tmp_path: Path, store: LocalStore) -> None:
    tests = [f"t.py::{at:02}" for at in range(25)]
    HandmadeBuild.planned(store, tmp_path / "project", {"1": tests}, FILES)
    error = str(refused(store, tmp_path / "work"))
    assert "25 missing" in error
    assert "t.py::09" in error
    assert "t.py::10" not in error
    assert "and 15 missing more" in error


def test_a_damaged_result_is_named(tmp_path: Path, store: LocalStore, complete: StoredBuild) -> None:
    store.put(KEYS.result("1"), store.get(KEYS.result("1")).data[:100])
    error = str(refused(store, tmp_path / "work"))
    assert KEYS.result("1") in error
    assert "t.py::a" in error


def test_a_result_under_another_batchs_key_is_a_contradiction(
    tmp_path: Path, store: LocalStore, complete: StoredBuild
) -> None:
    store.put(KEYS.result("2"), store.get(KEYS.result("1")).data)
    refused(store, tmp_path / "work", allow_partial=True)
    assert stored_ledger(store).verdict == "conflicting"


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", ".coverage.x/../../y", ".coverage.x-journal", "plan.json", ""]
)
def test_a_name_that_is_no_data_files_never_becomes_a_path(
    tmp_path: Path, store: LocalStore, build: HandmadeBuild, name: str
) -> None:
    file = build.upload(write_data(tmp_path / "1", {"": {"app/a.py": [1]}}))
    result = make_result(build.plan, "1", [dataclasses.replace(file, name=name)])
    store.put(KEYS.result("1"), to_json(result))
    build.give("2")
    assert "isn't the name of a data file" in str(refused(store, tmp_path / "work"))


def test_branch_against_statement_data_is_refused_even_if_partial_is_allowed(
    tmp_path: Path, store: LocalStore, build: HandmadeBuild
) -> None:
    build.give("1", write_data(tmp_path / "1", {"": {"app/a.py": [1]}}))
    build.give("2", write_data(tmp_path / "2", {"": {"app/a.py": [(1, 2)]}}, branch=True))
    error = refused(store, tmp_path / "work", allow_partial=True)
    assert "branch data" in str(error)
    assert "new build" in error.hint


def test_sources_that_are_gone_are_refused(tmp_path: Path, store: LocalStore, complete: StoredBuild) -> None:
    (tmp_path / "store" / KEYS.sources).unlink()
    assert KEYS.sources in str(refused(store, tmp_path / "work", allow_partial=True))


def test_sources_that_changed_are_refused(tmp_path: Path, store: LocalStore, complete: StoredBuild) -> None:
    other = HandmadeBuild.planned(
        LocalStore(tmp_path / "other"), tmp_path / "p2", BATCHES, FILES | {"app/b.py": "pass\n"}
    )
    store.put(KEYS.sources, other.store.get(KEYS.sources).data)
    assert "app/b.py" in str(refused(store, tmp_path / "work", allow_partial=True))


def test_partial_data_is_published_only_if_allowed_and_says_so(
    tmp_path: Path, store: LocalStore, build: HandmadeBuild
) -> None:
    build.give("1", write_data(tmp_path / "1", {"": {"app/a.py": [1]}}))
    combined = combine(store, tmp_path / "work", allow_partial=True)
    assert combined.ledger.verdict == "partial"
    assert api_view(combined.data_file)["app/a.py"][1] == [1]
    assert stored_ledger(store) == combined.ledger


def test_a_failed_combination_leaves_the_earlier_result(
    tmp_path: Path, store: LocalStore, complete: StoredBuild
) -> None:
    combine(store, tmp_path / "first")
    store.put(data_key(store, 0), b"")
    refused(store, tmp_path / "second")
    store.download(KEYS.combined, tmp_path / "kept")
    assert api_view(tmp_path / "kept")["app/a.py"][1] == [1, 2]


def test_a_complete_build_becomes_one_coverage_file(
    tmp_path: Path, store: LocalStore, complete: StoredBuild
) -> None:
    seen: list[tuple[int, int]] = []
    combined = combine_build(
        StoredBuild(store, KEYS),
        tmp_path / "work",
        allow_partial=False,
        workers=4,
        progress=lambda *at: seen.append(at),
    )
    ledger = combined.ledger
    assert (ledger.verdict, ledger.problems, ledger.outside) == ("complete", (), ("/tmp/x.py",))
    assert seen == [(1, 2), (2, 2)]
    view = api_view(combined.data_file)
    assert view.keys() == {"branch", "contexts", "app/a.py", "app/b.py"}
    assert view["app/a.py"][1] == [1, 2]
    assert {path: (combined.source_dir / path).read_text() for path in FILES} == FILES
    assert [outcome.id for outcome in combined.outcomes] == ["t.py::a", "t.py::b", "t.py::c"]
    assert combined.plan == complete.plan
    assert stored_ledger(store) == ledger
    for key in (KEYS.combined, KEYS.of_commit.combined):
        assert store.get(key).data == combined.data_file.read_bytes()
    assert ledger.combined is not None
    assert ledger.combined.size_bytes == combined.data_file.stat().st_size
    assert b"t.py::a" in store.get(timings("main")).data


def test_combining_twice_changes_nothing(tmp_path: Path, store: LocalStore, complete: StoredBuild) -> None:
    combine(store, tmp_path / "first")
    before = content(store)
    combine(store, tmp_path / "second")
    assert content(store) == before
    combine(store, tmp_path / "second")
    assert content(store) == before


def test_two_combiners_at_once_give_the_same(
    tmp_path: Path, store: LocalStore, complete: StoredBuild
) -> None:
    results: list[Combined] = []
    threads = [
        threading.Thread(target=lambda at=at: results.append(combine(store, tmp_path / str(at))))
        for at in ("x", "y")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = results
    assert first.ledger == second.ledger
    assert raw_digest(first.data_file) == raw_digest(second.data_file)


@pytest.mark.parametrize("writes", range(4))
def test_a_run_after_a_crash_half_way_finishes(
    tmp_path: Path, store: LocalStore, complete: StoredBuild, writes: int
) -> None:
    class Crash(BaseException):
        pass

    def die_after_some(key: str) -> None:
        if len(dying.writes) == writes:
            raise Crash

    dying = TroubledStore(tmp_path / "store")
    dying.before_write = die_after_some
    with pytest.raises(Crash):
        combine(dying, tmp_path / "work")
    assert KEYS.ledger not in dying.writes
    combined = combine(store, tmp_path / "work")
    assert stored_ledger(store) == combined.ledger
    assert api_view(combined.data_file)["app/a.py"][1] == [1, 2]
    assert store.get(KEYS.of_commit.combined).data == store.get(KEYS.combined).data


def test_data_of_other_builds_and_orphans_is_left_out(
    tmp_path: Path, store: LocalStore, complete: StoredBuild
) -> None:
    complete.upload(write_data(tmp_path / "orphan", {"": {"app/b.py": [99]}}))
    combined = combine(store, tmp_path / "work")
    assert combined.ledger.verdict == "complete"
    assert "ignored 1 data file that no result names" in combined.ledger.notes[0]
    assert api_view(combined.data_file)["app/b.py"][1] == [1]


def test_duplicates_are_harmless(tmp_path: Path, store: LocalStore, build: HandmadeBuild) -> None:
    data = write_data(tmp_path / "1", {"": {"app/a.py": [1]}})
    build.give("1", data, data)
    build.give("2", data)
    assert api_view(combine(store, tmp_path / "work").data_file)["app/a.py"][1] == [1]


def test_absolute_paths_below_a_workers_root_are_mapped(
    tmp_path: Path, store: LocalStore, build: HandmadeBuild
) -> None:
    for at in ("1", "2"):
        data = write_data(tmp_path / at, {"": {f"/agent{at}/w/app/a.py": [int(at)]}})
        build.give(at, data, root=f"/agent{at}/w")
    combined = combine(store, tmp_path / "work")
    assert api_view(combined.data_file)["app/a.py"][1] == [1, 2]
    assert combined.ledger.outside == ()


def test_late_data_is_combined(tmp_path: Path, store: LocalStore, complete: StoredBuild) -> None:
    complete.give("late-1-token-0", write_data(tmp_path / "late", {"": {"app/b.py": [7]}}))
    assert api_view(combine(store, tmp_path / "work").data_file)["app/b.py"][1] == [1, 7]


def test_the_projects_own_paths_setting_is_honoured(tmp_path: Path, store: LocalStore) -> None:
    config = {"setup.cfg": "[coverage:paths]\nall =\n    app\n    */site-packages/app\n"}
    build = HandmadeBuild.planned(store, tmp_path / "project", {"1": ["t.py::a"]}, FILES | config)
    build.give("1", write_data(tmp_path / "1", {"": {"/usr/lib/site-packages/app/a.py": [2]}}))
    assert api_view(combine(store, tmp_path / "work").data_file)["app/a.py"][1] == [2]


def test_an_unknown_build_names_those_that_exist(
    tmp_path: Path, store: LocalStore, build: HandmadeBuild
) -> None:
    with pytest.raises(ConfigurationError, match="has no build 8") as caught:
        combine_build(
            StoredBuild(store, CommitKeys("c0ffee").build("8")),
            tmp_path / "w",
            allow_partial=False,
            workers=1,
        )
    assert "7" in caught.value.hint


def test_a_plan_copied_from_another_build_is_refused(
    tmp_path: Path, store: LocalStore, build: HandmadeBuild
) -> None:
    other = CommitKeys("c0ffee").build("8")
    store.put(other.plan, store.get(KEYS.plan).data)
    with pytest.raises(IncompleteDataError, match="plan of build 7"):
        combine_build(StoredBuild(store, other), tmp_path / "w", allow_partial=False, workers=1)


def test_the_latest_build_is_that_of_the_newest_plan(store: LocalStore) -> None:
    commit = StoredCommit(store, CommitKeys("c0ffee"))
    assert commit.newest() is None
    times = {
        "9": "2026-01-01T00:00:00+00:00",
        "10": "2026-01-03T00:00:00+00:00",
        "8": "2026-01-02T23:00:00-05:00",
    }
    for name, time in times.items():
        plan = make_plan({"1": ["t"]}, build=name, created_at=time)
        store.put(commit.keys.build(name).plan, to_json(plan))
        store.put(commit.keys.build(name).result("plan"), b"{}")
    assert commit.newest() == commit.build("8")
