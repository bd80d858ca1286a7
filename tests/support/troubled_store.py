"""The local store, made to fail or to be overtaken at a chosen moment; it remembers its writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from covfleet.adapters.folder.store import LocalStore


class TroubledStore(LocalStore):
    """``before_write`` is called with each key before it is written; what it raises, the write raises.

    Attributes:
        writes: the keys that were written, in order.
        headers: content type and cache header of each.
        copies: those that were copied, and from where.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root
        self.before_write: Callable[[str], None] = lambda key: None
        self.writes: list[str] = []
        self.headers: dict[str, tuple[str | None, str | None]] = {}
        self.copies: dict[str, str] = {}

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
        self.before_write(key)
        etag = super().put(key, data, if_absent=if_absent, if_match=if_match)
        self._remember(key, content_type, cache_control)
        return etag

    def upload(
        self, path: Path, key: str, *, content_type: str | None = None, cache_control: str | None = None
    ) -> None:
        self.before_write(key)
        super().upload(path, key)
        self._remember(key, content_type, cache_control)

    def copy(
        self,
        source: str,
        key: str,
        *,
        sha256: str,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> None:
        self.before_write(key)
        super().copy(source, key, sha256=sha256)
        self._remember(key, content_type, cache_control)
        self.copies[key] = source

    @property
    def objects(self) -> dict[str, bytes]:
        """Every object's content by key."""
        return {info.key: self.get(info.key).data for info in self.list("")}

    def _remember(self, key: str, content_type: str | None, cache_control: str | None) -> None:
        self.writes.append(key)
        self.headers[key] = (content_type, cache_control)
