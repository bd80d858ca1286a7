"""A store that may only be read, with one's own writes above it: what is shown, what a condition means."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from covfleet.adapters.folder.overlay import OverlayStore
from covfleet.adapters.folder.store import LocalStore
from covfleet.errors import ObjectNotFoundError, PreconditionFailedError


@pytest.fixture
def below(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "below")
    store.put("a/1", b"below")
    store.put("a/2", b"below")
    return store


@pytest.fixture
def store(tmp_path: Path, below: LocalStore) -> OverlayStore:
    return OverlayStore(below, LocalStore(tmp_path / "above"))


def test_what_is_in_neither_is_not_there(store: OverlayStore, tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFoundError):
        store.get("a/3")
    with pytest.raises(ObjectNotFoundError):
        store.download("a/3", tmp_path / "got")


def test_writes_cover_what_is_below_and_never_reach_it(
    store: OverlayStore, below: LocalStore, tmp_path: Path
) -> None:
    store.put("a/2", b"above")
    (tmp_path / "file").write_bytes(b"file")
    store.upload(tmp_path / "file", "a/0")
    assert {key: store.get(key).data for key in ("a/0", "a/1", "a/2")} == {
        "a/0": b"file",
        "a/1": b"below",
        "a/2": b"above",
    }
    assert [(info.key, info.size_bytes) for info in store.list("a/")] == [("a/0", 4), ("a/1", 5), ("a/2", 5)]
    for key, expected in (("a/1", b"below"), ("a/2", b"above")):
        store.download(key, tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == expected
    assert {info.key: below.get(info.key).data for info in below.list("")} == {
        "a/1": b"below",
        "a/2": b"below",
    }


def test_an_object_below_is_in_the_way_of_a_first_write(store: OverlayStore) -> None:
    with pytest.raises(PreconditionFailedError):
        store.put("a/1", b"x", if_absent=True)
    store.put("a/3", b"x", if_absent=True)
    with pytest.raises(PreconditionFailedError):
        store.put("a/3", b"x", if_absent=True)


def test_a_replacement_must_know_what_is_shown(store: OverlayStore, below: LocalStore) -> None:
    first = store.get("a/1").etag
    second = store.put("a/1", b"second", if_match=first)
    with pytest.raises(PreconditionFailedError):
        store.put("a/1", b"again", if_match=first)
    store.put("a/1", b"third", if_match=second)
    assert store.get("a/1").data == b"third"
    with pytest.raises(PreconditionFailedError):
        store.put("a/2", b"x", if_match="other")
    with pytest.raises(PreconditionFailedError):
        store.put("a/3", b"x", if_match=first)
    assert below.get("a/1").data == b"below"


def test_a_copy_of_what_is_below_lies_above(store: OverlayStore, below: LocalStore) -> None:
    store.copy("a/1", "b", sha256=hashlib.sha256(b"below").hexdigest())
    assert store.get("b").data == b"below"
    assert [info.key for info in below.list("")] == ["a/1", "a/2"]
    with pytest.raises(PreconditionFailedError):
        store.copy("a/1", "c", sha256=hashlib.sha256(b"above").hexdigest())
    with pytest.raises(ObjectNotFoundError):
        store.copy("a/3", "c", sha256="")
