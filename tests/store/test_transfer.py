"""Parallel transfers and the one-winner write, on stores that fail as told."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from covfleet.adapters.folder.store import LocalStore
from covfleet.errors import ObjectNotFoundError, PreconditionFailedError, StoreError
from covfleet.store.transfer import download_all, probe_conditions, put_once, upload_all


class DeadStore(LocalStore):
    """A store that is down; finding that out takes a moment, as it does in a network."""

    def download(self, key: str, path: Path) -> None:
        time.sleep(0.02)
        raise StoreError(f"can't read {key}: timed out", hint="Check the endpoint.")


class BrokenStore(LocalStore):
    def upload(self, path: Path, key: str, **_options: object) -> None:
        raise ZeroDivisionError(key)


def test_every_absent_object_is_named(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.put("here", b"x")
    pairs = [(tmp_path / "here", "here"), *((tmp_path / str(n), f"absent/{n}") for n in range(50))]
    with pytest.raises(StoreError) as caught:
        download_all(store, pairs, workers=2)
    assert [line.split(" -> ")[0] for line in str(caught.value).splitlines()] == [
        f"download {store.url}/absent/{n}" for n in range(50)
    ]
    assert (tmp_path / "here").read_bytes() == b"x"


def test_a_store_that_is_down_is_not_asked_for_everything(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        download_all(DeadStore(tmp_path), [(tmp_path / str(n), str(n)) for n in range(500)], workers=4)
    *lines, last = str(caught.value).splitlines()
    assert 5 <= len(lines) < 250
    assert last == f"and {500 - len(lines)} more were skipped"
    assert caught.value.hint == "Check the endpoint."


def test_a_hostile_key_is_one_failure_among_others(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    (tmp_path / "a").write_text("x")
    with pytest.raises(StoreError, match="isn't valid as an object key"):
        upload_all(store, [(tmp_path / "a", "../a"), (tmp_path / "a", "b")], workers=2)
    assert [info.key for info in store.list("")] == ["b"]


def test_a_fault_of_ours_is_not_dressed_as_the_stores(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        upload_all(BrokenStore(tmp_path), [(tmp_path / "a", "a")], workers=2)


def test_no_objects_are_no_work(tmp_path: Path) -> None:
    download_all(LocalStore(tmp_path), [], workers=4, progress=lambda done, total: pytest.fail("called"))


def test_transfers_run_side_by_side(tmp_path: Path) -> None:
    together = threading.Barrier(4, timeout=10)

    class Meeting(LocalStore):
        def upload(self, path: Path, key: str, **_options: object) -> None:
            together.wait()

    upload_all(Meeting(tmp_path), [(tmp_path / str(n), str(n)) for n in range(4)], workers=4)


def test_progress_is_called_in_the_callers_thread(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    for n in range(5):
        store.put(str(n), b"x")
    seen: list[tuple[int, int, bool]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total, threading.current_thread() is threading.main_thread()))

    download_all(store, [(tmp_path / str(n), str(n)) for n in range(5)], workers=3, progress=progress)
    assert seen == [(done, 5, True) for done in range(1, 6)]


def test_put_once_does_not_call_an_unreadable_object_ours(tmp_path: Path) -> None:
    class Vanishing(LocalStore):
        def put(self, key: str, data: bytes, **_options: object) -> str:
            raise PreconditionFailedError(key)

    with pytest.raises(ObjectNotFoundError):
        put_once(Vanishing(tmp_path), "claim", b"mine")


@pytest.mark.parametrize(("ignored", "header"), [("if_absent", "If-None-Match"), ("if_match", "If-Match")])
def test_the_probe_finds_a_store_that_ignores_a_condition(tmp_path: Path, ignored: str, header: str) -> None:
    class Careless(LocalStore):
        def put(self, key: str, data: bytes, **options: object) -> str:
            options.pop(ignored, None)
            return super().put(key, data, **options)

    with pytest.raises(StoreError, match=header):
        probe_conditions(Careless(tmp_path))
