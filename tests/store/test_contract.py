"""What every store must do, whatever it is made of: the promises of ``ports.ObjectStore``."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from covfleet.adapters.stores import open_store
from covfleet.errors import ConfigurationError, ObjectNotFoundError, PreconditionFailedError, StoreError
from covfleet.ports.object_store import ObjectStore
from covfleet.settings.schema import Settings
from covfleet.store.keys import PROBE
from covfleet.store.transfer import download_all, probe_conditions, put_once, upload_all

HOSTILE = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "a//b",
    "a/",
    "./a",
    "a/./b",
    "a\\..\\b",
]
HOSTILE += ["a\0b", "a\nb", "\x1b[2J", "a\u202eb", "a\x85b", "\udcff", "x" * 256, "/".join(["x" * 200] * 6)]


def keys_of(store: ObjectStore, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


def test_a_hostile_key_is_refused_before_anything_happens(store: ObjectStore, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x")
    for key in HOSTILE:
        for use in (
            store.get,
            lambda key: store.put(key, b"x"),
            lambda key: store.upload(source, key),
            lambda key: store.download(key, target),
            lambda key: store.copy(key, "copy", sha256=""),
            lambda key: store.copy("source", key, sha256=""),
        ):
            with pytest.raises(ConfigurationError):
                use(key)
    assert not target.exists()
    assert keys_of(store, "") == []


def test_a_hostile_prefix_is_refused(store: ObjectStore) -> None:
    for prefix in ("../", "/", "a/../b", "a//"):
        with pytest.raises(ConfigurationError):
            list(store.list(prefix))


def test_an_object_that_is_not_there_is_named(store: ObjectStore, tmp_path: Path) -> None:
    store.put("folder/here", b"x")
    for key in ("absent", "folder", "folder/absent", "nowhere/absent"):
        with pytest.raises(ObjectNotFoundError, match=key):
            store.get(key)
        with pytest.raises(ObjectNotFoundError, match=key):
            store.download(key, tmp_path / "target")
    assert list(tmp_path.glob("*target*")) == []
    assert list(tmp_path.glob("*.part")) == []


def test_a_failed_download_leaves_the_old_file(store: ObjectStore, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with pytest.raises(ObjectNotFoundError):
        store.download("absent", target)
    assert target.read_bytes() == b"old"


def test_a_download_into_a_folder_that_is_not_there_names_it(store: ObjectStore, tmp_path: Path) -> None:
    store.put("a", b"x")
    with pytest.raises(StoreError, match="nowhere"):
        store.download("a", tmp_path / "nowhere" / "target")


def test_an_upload_of_a_file_that_is_not_there_names_it(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no-such-file"):
        store.upload(tmp_path / "no-such-file", "a")
    assert keys_of(store, "") == []


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 20_000], ids=["empty", "small", "5 MB"])
def test_what_is_written_is_read_back(store: ObjectStore, tmp_path: Path, data: bytes) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    store.put("put", data)
    store.upload(source, "deep/down/uploaded", content_type="text/html", cache_control="no-cache")
    store.download("put", target)
    assert target.read_bytes() == data
    assert store.get("deep/down/uploaded").data == data
    assert [(info.key, info.size_bytes) for info in store.list("")] == [
        ("deep/down/uploaded", len(data)),
        ("put", len(data)),
    ]


def test_a_copy_is_what_was_copied_and_neither_changes_with_the_other(
    store: ObjectStore, tmp_path: Path
) -> None:
    data = bytes(range(256)) * 5000
    store.put("ä b+c/source", data, content_type="text/plain")
    store.put("copy", b"old")
    sha256 = hashlib.sha256(data).hexdigest()
    store.copy("ä b+c/source", "copy", sha256=sha256, content_type="text/css", cache_control="no-cache")
    assert store.get("copy").data == data
    store.copy("copy", "copy of copy", sha256=sha256)
    store.put("copy", b"new")
    store.download("copy of copy", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == store.get("ä b+c/source").data == data


def test_an_empty_object_is_copied(store: ObjectStore) -> None:
    store.put("a", b"")
    store.copy("a", "b", sha256=hashlib.sha256().hexdigest())
    assert store.get("b").data == b""


def test_what_is_not_there_or_has_other_content_is_not_copied(store: ObjectStore) -> None:
    store.put("a", b"1")
    with pytest.raises(ObjectNotFoundError):
        store.copy("absent", "b", sha256=hashlib.sha256(b"1").hexdigest())
    with pytest.raises(PreconditionFailedError):
        store.copy("a", "b", sha256=hashlib.sha256(b"2").hexdigest())
    assert keys_of(store, "") == ["a"]


def test_odd_names_stay_as_they_are(store: ObjectStore) -> None:
    keys = ["a b+c%41&=?#", "ä/\u0101\u0308/漢字", "🦊", ".coverage.h.pid1.X2x.H3h", "-rf"]
    for key in keys:
        store.put(key, key.encode())
        assert store.get(key).data == key.encode()
    assert keys_of(store, "") == sorted(keys)


def test_the_etag_changes_with_the_content(store: ObjectStore) -> None:
    first = store.put("a", b"1")
    assert store.get("a").etag == first
    assert store.put("a", b"2") != first
    assert store.get("a").etag != first


def test_if_absent_writes_only_what_is_not_there(store: ObjectStore) -> None:
    store.put("a", b"1", if_absent=True)
    with pytest.raises(PreconditionFailedError):
        store.put("a", b"2", if_absent=True)
    assert store.get("a").data == b"1"


def test_if_match_writes_only_over_what_was_read(store: ObjectStore) -> None:
    first = store.put("a", b"1")
    second = store.put("a", b"2", if_match=first)
    with pytest.raises(PreconditionFailedError):
        store.put("a", b"3", if_match=first)
    assert store.get("a").data == b"2"
    assert store.get("a").etag == second


def test_if_match_does_not_write_what_is_gone(store: ObjectStore) -> None:
    etag = store.put("a", b"1")
    with pytest.raises(PreconditionFailedError):
        store.put("b", b"2", if_match=etag)
    assert keys_of(store, "") == ["a"]


def test_a_listing_has_the_order_of_keys_and_only_the_prefix(store: ObjectStore) -> None:
    keys = ["a", "b-c", "b.c", "b/a", "b/c/d", "b/c-d", "b0", "bc/d", "c/.coverage", "c/.coverage.x"]
    for key in reversed(keys):
        store.put(key, b"x")
    assert keys_of(store, "") == sorted(keys)
    for prefix in ("b", "b/", "b/c", "b/c/", "c/.coverage.", "nothing/", "nothing", "b/c/d/"):
        assert keys_of(store, prefix) == sorted(key for key in keys if key.startswith(prefix)), prefix


@pytest.mark.parametrize("place", ["folder", pytest.param("s3-path", marks=pytest.mark.s3)], indirect=True)
def test_a_listing_has_more_than_a_thousand_objects(store: ObjectStore) -> None:
    keys = [f"many/{number:04}" for number in range(1005)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.put(key, b"x"), keys))
    assert keys_of(store, "many/") == keys


def test_threads_that_put_once_have_one_winner(store: ObjectStore) -> None:
    barrier = threading.Barrier(16)

    def claim(number: int) -> bool:
        barrier.wait()
        return put_once(store, "claim", b"%d" % number)

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(claim, range(16)))
    assert won.count(True) == 1
    assert store.get("claim").data == b"%d" % won.index(True)


def test_threads_that_replace_have_one_winner(store: ObjectStore) -> None:
    etag = store.put("claim", b"the dead shard's")
    barrier = threading.Barrier(16)

    def take_over(number: int) -> bool:
        barrier.wait()
        try:
            store.put("claim", b"%d" % number, if_match=etag)
        except PreconditionFailedError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(take_over, range(16)))
    assert won.count(True) == 1
    assert store.get("claim").data == b"%d" % won.index(True)


CLAIMS = """
import sys, time
from pathlib import Path
from covfleet.adapters.stores import open_store
from covfleet.settings.schema import Settings
from covfleet.store.transfer import put_once

url, settings, name = sys.argv[1:]
store = open_store(url, Settings.model_validate_json(settings), Path("/"))
print("ready", flush=True)
sys.stdin.readline()
print(" ".join(str(n) for n in range(20) if put_once(store, f"claims/{n}", name.encode())))
"""


@pytest.mark.parametrize("place", ["folder", pytest.param("s3-path", marks=pytest.mark.s3)], indirect=True)
def test_processes_that_put_once_have_one_winner_each(place: tuple[str, Settings], tmp_path: Path) -> None:
    url, settings = place
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMS, url, settings.model_dump_json(), f"process {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    outputs = [process.communicate("go\n")[0] for process in processes]
    assert sorted(int(claim) for output in outputs for claim in output.split()) == list(range(20))
    store = open_store(url, settings, tmp_path)
    for number, output in enumerate(outputs):
        for claim in output.split():
            assert store.get(f"claims/{claim}").data == f"process {number}".encode()


def test_put_once_is_ours_again_when_it_is_repeated(store: ObjectStore) -> None:
    assert put_once(store, "a", b"mine")
    assert put_once(store, "a", b"mine")
    assert not put_once(store, "a", b"theirs")
    assert store.get("a").data == b"mine"


def test_a_store_that_honours_conditions_passes_the_probe_and_collects_no_rubbish(store: ObjectStore) -> None:
    probe_conditions(store)
    probe_conditions(store)
    assert keys_of(store, "") == [PROBE]


def test_many_files_go_up_and_come_down(store: ObjectStore, tmp_path: Path) -> None:
    up, down = tmp_path / "up", tmp_path / "down"
    up.mkdir()
    down.mkdir()
    pairs = [(up / str(number), f"files/{number}") for number in range(40)]
    for path, key in pairs:
        path.write_text(key * 1000)
    progress: list[tuple[int, int]] = []
    upload_all(store, pairs, workers=8, progress=lambda done, total: progress.append((done, total)))
    download_all(store, [(down / path.name, key) for path, key in pairs], workers=8)
    assert progress == [(done, 40) for done in range(1, 41)]
    assert {path.name: path.read_bytes() for path in down.iterdir()} == {
        path.name: path.read_bytes() for path in up.iterdir()
    }
