"""What only the folder can get wrong: links out of it, files in the way, unfinished writes, permissions."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from covfleet.adapters.folder.store import LocalStore
from covfleet.errors import ObjectNotFoundError, PreconditionFailedError, StoreError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


@pytest.fixture
def outside(tmp_path: Path, root: Path) -> Path:
    """A folder with a secret in it, to which ``link`` in the store leads."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    root.mkdir()
    (root / "link").symlink_to(folder)
    (root / "secret").symlink_to(folder / "secret")
    return folder


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("key", ["link/secret", "secret", "link"])
def test_a_link_out_of_the_store_is_not_followed(
    store: LocalStore, outside: Path, tmp_path: Path, key: str
) -> None:
    with pytest.raises(StoreError, match=key):
        store.get(key)
    with pytest.raises(StoreError, match=key):
        store.download(key, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_nothing_is_written_through_a_link(store: LocalStore, outside: Path) -> None:
    for key in ("link/secret", "link/new", "link/deep/new"):
        with pytest.raises(StoreError, match="symbolic link"):
            store.put(key, b"x")
    with pytest.raises(PreconditionFailedError):
        store.put("secret", b"x", if_absent=True)
    store.put("secret", b"mine")
    assert store.get("secret").data == b"mine"
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"secret": "secret"}


def test_a_listing_passes_over_links(store: LocalStore, outside: Path) -> None:
    store.put("a", b"x")
    assert [info.key for info in store.list("")] == ["a"]
    with pytest.raises(StoreError, match="symbolic link"):
        list(store.list("link/"))


def test_the_root_itself_may_be_a_link(outside: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(outside)
    assert LocalStore(tmp_path / "alias").get("secret").data == b"secret"


def test_a_file_and_a_folder_of_one_name_are_an_error_that_names_both(store: LocalStore) -> None:
    store.put("a", b"x")
    store.put("b/c", b"x")
    with pytest.raises(
        StoreError, match=r"can't write a/x in .*File exists|can't write a/x in .*Not a directory"
    ):
        store.put("a/x", b"x")
    with pytest.raises(StoreError, match="can't write b in"):
        store.put("b", b"x")
    with pytest.raises(ObjectNotFoundError):
        store.get("b")


def test_a_pipe_in_the_store_blocks_nobody(store: LocalStore, root: Path) -> None:
    root.mkdir()
    os.mkfifo(root / "pipe")
    with pytest.raises(StoreError, match="isn't a plain file"):
        store.get("pipe")
    assert list(store.list("")) == []


def test_a_folder_where_nobody_may_write_is_told() -> None:
    with pytest.raises(StoreError, match="can't write a in /sys/covfleet: ") as caught:
        LocalStore(Path("/sys/covfleet")).put("a", b"x")
    assert "--store" in caught.value.hint or "permissions" in caught.value.hint


def test_a_root_that_is_a_file_is_told(store: LocalStore, root: Path) -> None:
    root.write_text("x")
    with pytest.raises(StoreError, match=r"can't write a in"):
        store.put("a", b"x")


def test_a_full_disk_leaves_the_old_object(store: LocalStore, root: Path) -> None:
    """A limit on the size of files stands in for a full disk: the write fails half-way."""
    store.put("a", b"old")
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from covfleet.adapters.folder.store import LocalStore; from covfleet.errors import StoreError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: LocalStore(Path(sys.argv[1])).put('a', bytes(5000))\n"
        "except StoreError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    assert "can't write a in" in done.stdout
    assert "too large" in done.stdout
    assert store.get("a").data == b"old"
    assert everything(root) == {"a", ".covfleet-store", ".covfleet-store/lock"}


def test_a_writer_that_is_killed_leaves_nothing_that_a_listing_shows(store: LocalStore, root: Path) -> None:
    code = (
        "import os, shutil, signal, sys; from pathlib import Path\n"
        "from covfleet.adapters.folder.store import LocalStore\n"
        "def die(source, target): target.write_bytes(b'ha'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "shutil.copyfile = die\n"
        "LocalStore(Path(sys.argv[1])).upload(Path(sys.executable), 'commit/a')\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(root)], check=False).returncode == -9
    store.put("commit/b", b"x")
    assert [info.key for info in store.list("")] == ["commit/b"]
    assert everything(root / "commit") == {"b"}


def test_the_stores_own_folder_holds_no_objects(store: LocalStore) -> None:
    store.put("a", b"x")
    for key in (".covfleet-store", ".covfleet-store/lock", "a/.covfleet-store", "b/.covfleet-store/c"):
        with pytest.raises(StoreError, match="the store reserves"):
            store.put(key, b"x")
        with pytest.raises(StoreError, match="the store reserves"):
            store.get(key)
    with pytest.raises(StoreError, match="the store reserves"):
        list(store.list(".covfleet-store/"))


def test_a_reader_sees_the_old_object_or_the_new_one(store: LocalStore) -> None:
    over = threading.Event()
    contents = [b"a" * 500_000, b"b" * 500_000]
    store.put("a", contents[0])

    def write() -> None:
        while not over.is_set():
            for content in contents:
                store.put("a", content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = {store.get("a").data for _ in range(200)}
    finally:
        over.set()
        writer.join()
    assert seen <= set(contents)


def test_replacements_by_several_processes_lose_none(store: LocalStore, root: Path) -> None:
    store.put("count", b"0")
    code = (
        "import sys; from pathlib import Path\n"
        "from covfleet.adapters.folder.store import LocalStore\n"
        "from covfleet.errors import PreconditionFailedError\n"
        "store, done = LocalStore(Path(sys.argv[1])), 0\n"
        "while done < 50:\n"
        "    held = store.get('count')\n"
        "    try: store.put('count', b'%d' % (int(held.data) + 1), if_match=held.etag); done += 1\n"
        "    except PreconditionFailedError: pass\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(root)]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert store.get("count").data == b"200"


def test_what_is_written_may_be_read_by_whoever_the_umask_allows(store: LocalStore, root: Path) -> None:
    before = os.umask(0o027)
    try:
        store.put("a", b"x")
    finally:
        os.umask(before)
    assert (root / "a").stat().st_mode & 0o777 == 0o640


def test_a_listing_reads_only_the_folder_of_its_prefix(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("one/a/x", "one/b/x", "two/x"):
        store.put(key, b"x")
    scanned: list[str] = []
    scandir: Callable[..., os._ScandirIterator[str]] = os.scandir

    def record(path: Path) -> os._ScandirIterator[str]:
        scanned.append(path.name)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", record)
    assert [info.key for info in store.list("one/a")] == ["one/a/x"]
    assert scanned == ["one", "a"]


def test_names_that_are_not_text_are_listed_so_that_they_can_be_named(store: LocalStore, root: Path) -> None:
    root.mkdir()
    (root / os.fsdecode(b"\xff")).write_text("x")
    (root / "a\nb").write_text("x")
    assert [info.key.encode() for info in store.list("")] == [b"\\xff", b"a\nb"]


def test_a_listing_shows_when_an_object_was_written_again(store: LocalStore) -> None:
    store.put("a", b"1")
    first = next(store.list("a"))
    store.put("a", b"2")
    second = next(store.list("a"))
    assert first.etag != second.etag
    assert second.modified >= first.modified
