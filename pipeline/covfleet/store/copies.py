"""Copy files that a store already has from an earlier build instead of uploading them again."""

from __future__ import annotations

from collections.abc import Iterable

from covfleet.errors import ObjectNotFoundError, PreconditionFailedError, StoreError
from covfleet.model import ReportFile
from covfleet.ports.object_store import ObjectStore
from covfleet.store.media import content_type


class Earlier:
    """An earlier build's files in a store, by content; thread-safe.

    Attributes:
        fault: why copying was given up; empty if it wasn't.
    """

    def __init__(self, store: ObjectStore, folder: str = "", files: Iterable[ReportFile] = ()) -> None:
        self._store = store
        self._keys = {file.sha256: f"{folder}{file.path}" for file in files}
        self.fault = ""

    def copy(self, file: ReportFile, key: str, *, cache_control: str | None = None) -> bool:
        """Copy a file to ``key`` if the store has its content; return whether it was copied.

        A store that can't copy costs uploads, but never the build: the first failure ends the attempts.
        """
        source = self._keys.get(file.sha256)
        if source is None or self.fault:
            return False
        try:
            self._store.copy(
                source,
                key,
                sha256=file.sha256,
                content_type=content_type(file.path),
                cache_control=cache_control,
            )
        except (ObjectNotFoundError, PreconditionFailedError):
            return False  # it is gone or has changed
        except StoreError as error:
            self.fault = str(error)
            return False
        return True
