"""A store of objects, and which keys every store can hold."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from covfleet.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's content, and the tag that changes whenever the content does."""

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
    """Keyed, immutable-or-replaced objects; every write is atomic, every read checked.

    Keys are those of ``covfleet.store.keys``, relative to the store's prefix. All methods are safe to call
    from several threads. All raise ``StoreError``, naming operation, object and fix, once bounded retries are
    used up.
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

        Raises ``PreconditionFailedError`` if it exists (``if_absent``) or has another etag or is gone
        (``if_match``). A caller must read it back before it believes that it lost: the first attempt may
        have succeeded and its answer been lost, and the retry then fails by its own success.
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
        """Write the file's content as the object, with a checksum that the store verifies."""

    def copy(
        self,
        source: str,
        key: str,
        *,
        sha256: str,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> None:
        """Write the object that has the key ``source`` as ``key``, too; on S3 no content travels.

        Raises ``ObjectNotFoundError`` if there is none, ``PreconditionFailedError`` if its content has
        another SHA-256 (in hex) than this: then nothing is written.
        """

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with ``prefix``, in the order of keys, however many."""


Paths = Sequence[tuple[Path, str]]
"""Pairs of a local file and a key."""


def checked_key(key: str) -> str:
    """Return ``key`` if every store can hold it and it can't leave a store's folder.

    Raises:
        ConfigurationError: it is empty or over 1,024 bytes (S3's limit), or has a part that is empty, ``.``,
            ``..`` or over 255 bytes (file systems' limit), or a backslash (some servers, such as SeaweedFS,
            read it as a slash), or a control or otherwise unprintable character.
    """
    parts = key.split("/")
    if not key.isprintable() or "\\" in key or any(part in {"", ".", ".."} for part in parts):
        raise ConfigurationError(
            f"{key!r} can't be the key of an object",
            hint="It has an empty part, '.', '..', a backslash or an unprintable character in it.",
        )
    if len(key.encode()) > 1024 or any(len(part.encode()) > 255 for part in parts):
        raise ConfigurationError(f"{key[:80]!r}… is too long to be the key of an object")
    return key


def checked_prefix(prefix: str) -> str:
    """Return ``prefix`` if it is empty or starts keys that ``checked_key`` may accept.

    Raises:
        ConfigurationError: no such key can start with it.
    """
    folder, slash, _ = prefix.rpartition("/")
    if slash:
        checked_key(folder)
    return prefix
