"""A read-only store with a second store over it that takes all writes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from covfleet.errors import ObjectNotFoundError, PreconditionFailedError
from covfleet.files import sha256_of
from covfleet.ports.object_store import ObjectInfo, ObjectStore, StoredObject


class OverlayStore:
    """An ``ObjectStore`` that shows ``above`` over ``below`` and writes only to ``above``.

    Conditions apply to the visible objects; they are atomic only among writers that share ``above``.
    """

    def __init__(self, below: ObjectStore, above: ObjectStore) -> None:
        self.url = below.url
        self._below = below
        self._above = above

    def get(self, key: str) -> StoredObject:
        """Return the object. Raises ``ObjectNotFoundError``."""
        try:
            return self._above.get(key)
        except ObjectNotFoundError:
            return self._below.get(key)

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
        """Write the object and return its etag. Raises ``PreconditionFailedError``."""
        if if_absent and _find(self._below, key):
            raise PreconditionFailedError(f"{key} already exists in {self.url}")
        if if_match is not None and not _find(self._above, key):
            covered = _find(self._below, key)
            if covered is None or covered.etag != if_match:
                raise PreconditionFailedError(f"{key} has changed since it was read")
            if_absent, if_match = True, None  # the first to cover it
        return self._above.put(
            key,
            data,
            if_absent=if_absent,
            if_match=if_match,
            content_type=content_type,
            cache_control=cache_control,
        )

    def download(self, key: str, path: Path) -> None:
        """Write the object to ``path``, atomically. Raises ``ObjectNotFoundError``."""
        try:
            self._above.download(key, path)
        except ObjectNotFoundError:
            self._below.download(key, path)

    def upload(
        self,
        path: Path,
        key: str,
        *,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> None:
        """Write the file's content as the object."""
        self._above.upload(path, key, content_type=content_type, cache_control=cache_control)

    def copy(
        self,
        source: str,
        key: str,
        *,
        sha256: str,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> None:
        """Copy the object ``source`` to ``key`` by way of this machine.

        Raises ``ObjectNotFoundError`` and ``PreconditionFailedError``.
        """
        with tempfile.TemporaryDirectory(prefix="covfleet-") as scratch:
            path = Path(scratch, "object")
            self.download(source, path)
            if sha256_of(path) != sha256:
                raise PreconditionFailedError(f"{source} in {self.url} has different content than expected")
            self.upload(path, key, content_type=content_type, cache_control=cache_control)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with ``prefix``, in the order of keys."""
        shown = {info.key: info for store in (self._below, self._above) for info in store.list(prefix)}
        yield from (shown[key] for key in sorted(shown))


def _find(store: ObjectStore, key: str) -> StoredObject | None:
    try:
        return store.get(key)
    except ObjectNotFoundError:
        return None
