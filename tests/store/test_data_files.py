"""How data files travel: what is stored, what comes back, and what damage is found on the way."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest
import zstandard
from covfleet.combine.verify import data_file
from covfleet.errors import ConfigurationError
from covfleet.model import DataFile
from covfleet.ports.object_store import ObjectStore
from covfleet.settings.schema import Settings
from covfleet.store.data_files import UnpackingError, key_of, packed_path, receive, send, stored_name, unpack
from covfleet.store.keys import CommitKeys

KEYS = CommitKeys("c0ffee")


def name(number: int) -> str:
    return f".coverage.host.pid{number}.Xabcdefx.H0123456789h"


def some_files(folder: Path, number: int = 5) -> list[tuple[Path, DataFile]]:
    rng = random.Random(7)
    folder.mkdir()
    paths = [folder / f"{at}" for at in range(number)]
    for at, path in enumerate(paths):
        path.write_bytes(b"SQLite format 3\0" * 400 * at + rng.randbytes(100 * at))  # the first is empty
    return [(path, data_file(path, name(at))) for at, path in enumerate(paths)]


@pytest.mark.parametrize("compress", [True, False])
def test_what_was_sent_comes_back(store: ObjectStore, tmp_path: Path, compress: bool) -> None:
    files = some_files(tmp_path / "up")
    sent = send(store, KEYS, files, compress=compress, workers=4)
    assert [(file.name, file.size_bytes, file.sha256) for file in sent] == [
        (file.name, file.size_bytes, file.sha256) for _, file in files
    ]
    assert sorted(path.name for path in (tmp_path / "up").iterdir()) == ["0", "1", "2", "3", "4"]
    stored = {info.key: info.size_bytes for info in store.list(KEYS.folder)}
    assert stored == {f"{KEYS.folder}{stored_name(file)}": file.object_bytes for file in sent}
    (tmp_path / "down").mkdir()
    wanted = [(tmp_path / "down" / file.name, file) for file in sent]
    receive(store, KEYS, wanted, workers=4)
    for (path, file), (original, _) in zip(wanted, files, strict=True):
        unpack(path, file)
        assert path.read_bytes() == original.read_bytes()
    assert len(list((tmp_path / "down").iterdir())) == 5


def test_compressed_ones_are_smaller_and_lie_where_stock_tools_do_not_look(
    store: ObjectStore, tmp_path: Path
) -> None:
    [*_, last] = send(store, KEYS, some_files(tmp_path / "up"), compress=True, workers=4)
    assert last.object_bytes < last.size_bytes / 2
    assert list(store.list(KEYS.data_prefix)) == []
    assert all(info.key.startswith(KEYS.packed_prefix) for info in store.list(KEYS.folder))


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_name_that_is_no_data_file_s_never_becomes_a_key(compression: str) -> None:
    file = DataFile("../../x", 1, "", compression)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        key_of(KEYS, file)


def arrived(tmp_path: Path, content: bytes, size_bytes: int) -> tuple[Path, DataFile]:
    path = tmp_path / "data"
    packed_path(path).write_bytes(content)
    return path, DataFile(name(1), size_bytes, "", "zstd", len(content))


def test_a_bomb_ends_at_the_size_that_is_known(tmp_path: Path) -> None:
    size = 100 * 1024**2
    with pytest.raises(UnpackingError, match="more than its 1000 bytes"):
        unpack(*arrived(tmp_path, zstandard.compress(bytes(size)), 1000))
    assert (tmp_path / "data").stat().st_size <= 1 << 20
    assert not packed_path(tmp_path / "data").exists()


def test_an_endless_window_is_refused(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30)
    bomb = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    content = bomb.compress(b"x" * 1000) + bomb.flush()
    with pytest.raises(UnpackingError, match="can't be decompressed"):
        unpack(*arrived(tmp_path, content, 1000))


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"<html>503</html>"])
def test_what_is_not_compressed_is_refused_or_comes_out_short(tmp_path: Path, content: bytes) -> None:
    path, file = arrived(tmp_path, content, 16)
    try:
        unpack(path, file)
    except UnpackingError:
        return
    assert path.stat().st_size < file.size_bytes


def test_no_flipped_bit_comes_out_as_the_data(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(content)
    for at in range(len(packed) * 8):
        flipped = bytearray(packed)
        flipped[at // 8] ^= 1 << at % 8
        path, file = arrived(tmp_path, bytes(flipped), len(content))
        try:
            unpack(path, file)
        except UnpackingError:
            continue
        # What zstd itself doesn't see (a bit of the header that changes nothing) is the data all the same.
        assert path.read_bytes() == content or data_file(path, "x").sha256 != data_file_of(content, tmp_path)


def data_file_of(content: bytes, tmp_path: Path) -> str:
    whole = tmp_path / "whole"
    whole.write_bytes(content)
    return data_file(whole, "x").sha256


def test_data_files_are_compressed_over_a_network_unless_settings_say_otherwise() -> None:
    assert not Settings().compresses
    assert Settings(store="s3://bucket/x").compresses
    assert Settings(compression="zstd").compresses
    assert not Settings(store="s3://bucket/x", compression="none").compresses
    assert dataclasses.asdict(DataFile("a", 1, "b"))["compression"] == "none"
