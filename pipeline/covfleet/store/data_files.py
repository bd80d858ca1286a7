"""Upload and download data files, compressed with zstd or uncompressed.

Compressed files are stored apart from the others, as ``zstd/<name>.zst``: otherwise stock ``coverage
combine`` on a copy of the commit's folder would take them for damaged files and skip them. This way it finds
no files and says so. ``covfleet fetch`` restores the files, and so does ``zstd -d -r zstd --output-dir-flat
.``.

Size and SHA-256 in results and in the ledger are those of the data file itself, compressed or not. The size
of the stored object is recorded separately and compared before any download; and decompression stops at the
data file's size, whatever the compressed file claims.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from covfleet.model import DataFile
from covfleet.ports.narration import Progress
from covfleet.ports.object_store import ObjectStore
from covfleet.store import zstd
from covfleet.store.keys import CommitKeys, packed_name
from covfleet.store.parallel import for_each
from covfleet.store.transfer import download_all, upload_all

LARGEST_BYTES = 5 * 1024**3  # S3's limit for an object uploaded in one request
_LEVEL = 3  # at most half the size, at some hundred MB/s
_CHUNK = 1 << 20


class UnpackingError(Exception):
    """A compressed data file is damaged; the message says how."""


def stored_name(file: DataFile) -> str:
    """Return the data file's name in the commit's folder; the name is not checked."""
    return packed_name(file.name) if file.compression == "zstd" else file.name


def key_of(keys: CommitKeys, file: DataFile) -> str:
    """Return the key of the stored data file.

    Raises:
        ConfigurationError: its name isn't that of a data file.
    """
    return keys.packed_file(file.name) if file.compression == "zstd" else keys.data_file(file.name)


def send(
    store: ObjectStore,
    keys: CommitKeys,
    files: Sequence[tuple[Path, DataFile]],
    *,
    compress: bool,
    workers: int,
) -> tuple[DataFile, ...]:
    """Upload data files, compressed or not; return their descriptions for the result.

    The files stay; temporary compressed copies are created beside them.

    Raises:
        StoreError: see ``upload_all``.
    """
    if not compress:
        upload_all(store, [(path, key_of(keys, file)) for path, file in files], workers=workers)
        return tuple(file for _, file in files)
    packed = for_each(lambda pair: _pack(*pair), files, workers=os.cpu_count() or 1)
    try:
        upload_all(store, [(path, key_of(keys, file)) for path, file in packed], workers=workers)
    finally:
        for path, _ in packed:
            path.unlink()
    return tuple(file for _, file in packed)


def receive(
    store: ObjectStore,
    keys: CommitKeys,
    wanted: Iterable[tuple[Path, DataFile]],
    *,
    workers: int,
    progress: Progress | None = None,
) -> None:
    """Download data files in their stored form: each to its path, or to ``packed_path`` if compressed.

    Raises:
        StoreError: see ``download_all``.
    """
    pairs = [(packed_path(path) if file.compression == "zstd" else path, file) for path, file in wanted]
    download_all(
        store, [(path, key_of(keys, file)) for path, file in pairs], workers=workers, progress=progress
    )


def packed_path(path: Path) -> Path:
    """Return the path of a local data file's compressed form."""
    return path.with_name(f"{path.name}.zst")


def unpack(path: Path, file: DataFile) -> None:
    """Decompress ``packed_path(path)`` to ``path`` and remove it; do nothing for an uncompressed file.

    The SHA-256 is not compared here.

    Raises:
        UnpackingError: it isn't a zstd file, is damaged, or contains more than the data file's size.
    """
    if file.compression == "none":
        return
    packed = packed_path(path)
    left = file.size_bytes
    try:
        with packed.open("rb") as source, zstd.reader(source) as stream, path.open("wb") as out:
            while chunk := stream.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise UnpackingError(f"decompresses to more than its {file.size_bytes} bytes")
                out.write(chunk)
    except zstd.DAMAGE as error:
        raise UnpackingError(f"can't be decompressed: {error}") from error
    finally:
        packed.unlink()


def _pack(path: Path, file: DataFile) -> tuple[Path, DataFile]:
    packed = packed_path(path)
    with path.open("rb") as source, packed.open("wb") as out:
        zstd.copy_packed(source, out, file.size_bytes, _LEVEL)
    return packed, replace(file, compression="zstd", stored_bytes=packed.stat().st_size)
