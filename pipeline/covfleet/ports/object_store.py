"""The port to an object store, and checks of the keys that every store can hold."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from covfleet.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's content, and the etag that changes whenever the content does."""

    data: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One line of a listing; ``modified`` is the store's clock."""

    key: str
    size_bytes: int
    etag: str
    modified: datetime.datetime


class ObjectStore(Protocol):
    """Objects by key; every write is atomic and replaces the whole object, every read is checked.

    Keys are those of ``covfleet.store.keys``, relative to the store's prefix. All methods are thread-safe.
    They retry a limited number of times, then raise ``StoreError``, which names operation, object and fix.
    """

    url: str

    def get(self, key: str) -> StoredObject:
        """Return the object. Raises ``ObjectNotFoundError``."""

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> str:
        """Write the object and return its etag.

        Raises ``PreconditionFailedError`` if the object exists (``if_absent``), or has another etag or is
        gone (``if_match``). The caller must read it back before concluding that another writer won: if the
        first attempt succeeded and only its response was lost, the retry fails because of that success.
        """

    def download(self, key: str, path: Path) -> None:
        """Write the object to ``path``, atomically. Raises ``ObjectNotFoundError``."""

    def upload(
        self,
        path: Path,
        key: str,
        *,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> None:
        """Write a file's content as the object, with a checksum that the store verifies."""

    def copy(
        self,
        source: str,
        key: str,
        *,
        sha256: str,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> None:
        """Copy the object ``source`` to ``key``; on S3 no content is transferred.

        Raises ``ObjectNotFoundError`` if the source doesn't exist, ``PreconditionFailedError`` if its content
        has another SHA-256 (in hex); in both cases nothing is written.
        """

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with ``prefix``, in the order of keys."""


Paths = Sequence[tuple[Path, str]]
"""Pairs of a local file and a key."""


def checked_key(key: str) -> str:
    """Return ``key`` if every store can hold it and it can't escape from a store's folder.

    Raises:
        ConfigurationError: it is empty or over 1,024 bytes (S3's limit), or contains a part that is empty,
            ``.``, ``..`` or over 255 bytes (file systems' limit), a backslash (some servers, such as
            SeaweedFS, treat it as a slash), or a control or other unprintable character.
    """
    parts = key.split("/")
    if not key.isprintable() or "\\" in key or any(part in {"", ".", ".."} for part in parts):
        raise ConfigurationError(
            f"{key!r} isn't valid as an object key",
            hint="Avoid empty parts, '.', '..', backslashes and unprintable characters.",
        )
    if len(key.encode()) > 1024 or any(len(part.encode()) > 255 for part in parts):
        raise ConfigurationError(f"{key[:80]!r}… is too long for an object key")
    return key


def checked_prefix(prefix: str) -> str:
    """Return ``prefix`` if it is empty or a key that ``checked_key`` accepts can start with it.

    Raises:
        ConfigurationError: no valid key can start with it.
    """
    folder, slash, _ = prefix.rpartition("/")
    if slash:
        checked_key(folder)
    return prefix
