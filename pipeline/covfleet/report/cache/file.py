"""The file format of the report cache: entries by key, each verified before it is used.

    magic, size and SHA-256 of the index, the index (JSON, zstd), then one entry (zstd) after the other

The index contains each entry's key, place and size, the SHA-256 of key and entry together, and the number of
reports since its last use; the entry contains its key, too. So an entry that is damaged, truncated or under
another key is ignored, and a file without an intact index isn't a bundle.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Self

from pydantic import Field, TypeAdapter, ValidationError

from covfleet.store import zstd

_MAGIC = b"covfleet reports 1\n"
_HEAD = struct.Struct(">Q32s")
_LARGEST_INDEX = 1 << 26  # bytes, decompressed
_LARGEST_ENTRY = 1 << 28
_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Place:
    """An entry's place in its bundle, and its checksum."""

    offset: Annotated[int, Field(ge=0)]  # from the end of the index
    size_bytes: Annotated[int, Field(ge=0, le=_LARGEST_ENTRY)]
    sha256: str
    unused: Annotated[int, Field(ge=0)]  # reports since its last use


_INDEX = TypeAdapter(dict[str, Place])


class Bundle:
    """A bundle that is open for reading, also in processes forked meanwhile."""

    def __init__(self, file: BinaryIO, places: Mapping[str, Place]) -> None:
        self._file = file
        self._begin = file.tell()
        self.places = places

    def content(self, key: str) -> bytes | None:
        """Return the content under a key, or ``None`` if there is no valid entry."""
        entry = self.entry(key)
        return None if entry is None else unpack_entry(key, entry)

    def entry(self, key: str) -> bytes | None:
        """Return the packed entry under a key, or ``None`` if there is no valid one."""
        place = self.places.get(key)
        if place is None:
            return None
        try:
            found = os.pread(self._file.fileno(), place.size_bytes, self._begin + place.offset)
        except (OSError, OverflowError):
            return None
        return found if _proof(key, found) == place.sha256 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def open_bundle(path: Path) -> Bundle | None:
    """Return the bundle, or ``None`` if the file isn't one. Raises ``OSError`` if it can't be read."""
    file = path.open("rb")
    places = _read_index(file)
    if places is None:
        file.close()
        return None
    return Bundle(file, places)


def _read_index(file: BinaryIO) -> dict[str, Place] | None:
    head = file.read(len(_MAGIC) + _HEAD.size)
    if len(head) < len(_MAGIC) + _HEAD.size or not head.startswith(_MAGIC):
        return None
    size, digest = _HEAD.unpack_from(head, len(_MAGIC))
    index = file.read(min(size, _LARGEST_INDEX))
    if hashlib.sha256(index).digest() != digest:
        return None
    try:
        return _INDEX.validate_json(zstd.unpack(index, _LARGEST_INDEX))
    except (ValidationError, *zstd.DAMAGE):
        return None


def write_bundle(path: Path, entries: Iterable[tuple[str, int, bytes]]) -> None:
    """Write a bundle of packed entries, each with its key and the number of reports since its last use."""
    chosen = list(entries)
    places, offset = {}, 0
    for key, unused, entry in chosen:
        places[key] = Place(offset, len(entry), _proof(key, entry), unused)
        offset += len(entry)
    index = zstd.pack(_INDEX.dump_json(places), _LEVEL)
    with path.open("wb") as file:
        file.write(_MAGIC + _HEAD.pack(len(index), hashlib.sha256(index).digest()) + index)
        file.writelines(entry for _, _, entry in chosen)


def _proof(key: str, entry: bytes) -> str:
    return hashlib.sha256(key.encode() + b"\0" + entry).hexdigest()


def pack_entry(key: str, content: bytes) -> bytes:
    """Return a packed entry of a key and its content."""
    return zstd.pack(f"{key}\n".encode() + content, _LEVEL)


def unpack_entry(key: str, entry: bytes) -> bytes | None:
    """Return an entry's content, or ``None`` if it is damaged or belongs to another key."""
    try:
        own, _, content = zstd.unpack(entry, _LARGEST_ENTRY).partition(b"\n")
    except zstd.DAMAGE:
        return None
    return content if own == key.encode() else None
