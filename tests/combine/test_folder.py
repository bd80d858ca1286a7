"""A commit's folder that other tools filled: combined as unverified, refused where something is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from covfleet.adapters.folder.store import LocalStore
from covfleet.combine.build import Combined
from covfleet.combine.folder import Project, combine_folder
from covfleet.combine.gather import Transfers
from covfleet.errors import ConfigurationError, IncompleteDataError
from covfleet.store.commit import StoredCommit
from covfleet.store.keys import CommitKeys
from support.builds import COMMIT, HandmadeBuild
from support.datafiles import DAMAGE, write_data
from support.dataset_equal import api_view

KEYS = CommitKeys(COMMIT)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    (root / "app").mkdir(parents=True)
    (root / "app/a.py").write_text("x = 1\n")
    return Project(root, ("app/a.py",), "main")


def give(store: LocalStore, name: str, path: Path) -> None:
    store.upload(path, f"{KEYS.folder}{name}")


def combine(store: LocalStore, project: Project, workdir: Path, *, allow_partial: bool = False) -> Combined:
    return combine_folder(
        StoredCommit(store, KEYS),
        workdir,
        project=project,
        allow_partial=allow_partial,
        transfers=Transfers(2),
    )


@pytest.mark.parametrize("damage", sorted(DAMAGE.keys() - {"flipped"}))
def test_a_damaged_file_is_refused_and_may_be_left_out(
    tmp_path: Path, store: LocalStore, project: Project, damage: str
) -> None:
    give(store, ".coverage.good", write_data(tmp_path / "1", {"": {"app/a.py": [1]}}))
    store.put(f"{KEYS.folder}.coverage.bad", DAMAGE[damage]((tmp_path / "1").read_bytes()))
    with pytest.raises(IncompleteDataError, match=r"corrupt: \.coverage\.bad"):
        combine(store, project, tmp_path / "work")
    assert [info.key for info in store.list(KEYS.combined)] == [
        f"{KEYS.folder}.coverage.bad",
        f"{KEYS.folder}.coverage.good",
    ]
    partial = combine(store, project, tmp_path / "work", allow_partial=True)
    assert partial.ledger.verdict == "partial"
    assert api_view(partial.data_file)["app/a.py"][1] == [1]


def test_a_journal_in_the_folder_is_refused(tmp_path: Path, store: LocalStore, project: Project) -> None:
    give(store, ".coverage.1", write_data(tmp_path / "1", {"": {"app/a.py": [1]}}))
    store.put(f"{KEYS.folder}.coverage.1-journal", b"half a transaction")
    with pytest.raises(IncompleteDataError, match=r"\.coverage\.1-journal: is SQLite's"):
        combine(store, project, tmp_path / "work")


def test_a_file_of_a_strange_name_is_refused(tmp_path: Path, store: LocalStore, project: Project) -> None:
    give(store, ".coverage.1", write_data(tmp_path / "1", {"": {"app/a.py": [1]}}))
    give(store, ".coverage.x/y", tmp_path / "1")
    with pytest.raises(IncompleteDataError, match=r"\.coverage\.x/y"):
        combine(store, project, tmp_path / "work")


def test_mixed_kinds_are_refused_by_name(tmp_path: Path, store: LocalStore, project: Project) -> None:
    give(store, ".coverage.1", write_data(tmp_path / "1", {"": {"app/a.py": [1]}}))
    give(store, ".coverage.2", write_data(tmp_path / "2", {"": {"app/a.py": [(1, -1)]}}, branch=True))
    with pytest.raises(IncompleteDataError, match=r"\.coverage\.2: contains branch data, but \.coverage\.1"):
        combine(store, project, tmp_path / "work", allow_partial=True)


def test_data_of_another_project_is_refused(tmp_path: Path, store: LocalStore, project: Project) -> None:
    give(store, ".coverage.1", write_data(tmp_path / "1", {"": {"/elsewhere/app/a.py": [1]}}))
    with pytest.raises(IncompleteDataError, match=r"\[paths\]"):
        combine(store, project, tmp_path / "work", allow_partial=True)


def test_a_commit_without_data_is_unknown(tmp_path: Path, store: LocalStore, project: Project) -> None:
    with pytest.raises(ConfigurationError, match="no data files of commit"):
        combine(store, project, tmp_path / "work")


def test_the_data_of_planned_builds_is_never_mixed(
    tmp_path: Path, store: LocalStore, project: Project
) -> None:
    build = HandmadeBuild.planned(store, tmp_path / "planned", {"1": ["t"]}, {"app/a.py": "x = 1\n"})
    build.upload(write_data(tmp_path / "1", {"": {"app/a.py": [1]}}))
    with pytest.raises(ConfigurationError, match="must not be mixed"):
        combine(store, project, tmp_path / "work")


def test_a_sound_folder_is_combined_as_unverified(
    tmp_path: Path, store: LocalStore, project: Project
) -> None:
    absolute = str(project.root.resolve() / "app/a.py")
    give(store, ".coverage.1", write_data(tmp_path / "1", {"": {absolute: [1]}}))
    give(store, ".coverage.shard2", write_data(tmp_path / "2", {"": {"app/a.py": [2], "/tmp/x.py": [1]}}))
    store.put(KEYS.combined, b"an earlier result, which is no input")
    combined = combine(store, project, tmp_path / "work")
    assert combined.ledger.verdict == "unverified"
    assert combined.ledger.outside == ("/tmp/x.py",)
    assert (combined.plan, combined.outcomes, combined.source_dir) == (None, (), project.root)
    assert api_view(combined.data_file)["app/a.py"][1] == [1, 2]
    assert store.get(KEYS.combined).data == combined.data_file.read_bytes()
    again = combine(store, project, tmp_path / "again")
    assert again.ledger == combined.ledger
