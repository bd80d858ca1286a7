"""A shard's heart: a thread that writes heartbeats with the shard's progress to the store."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

from covfleet.errors import PreconditionFailedError, StoreError
from covfleet.model import Heartbeat, ShardState
from covfleet.ports.narration import Narrate
from covfleet.store.build import StoredBuild


class Heart:
    """Writes ``shards/<k>.json`` every few seconds while the shard is alive. Use it as a context manager.

    Each write is conditional on the one before. A refusal shows that another run of this shard has started,
    as after Jenkins gave this one up: then the thread calls ``superseded`` and ends.
    """

    def __init__(
        self,
        build: StoredBuild,
        first: Heartbeat,
        *,
        every_s: float,
        superseded: Callable[[], None],
        narrate: Narrate,
    ) -> None:
        self._build = build
        self._every_s = every_s
        self._superseded = superseded
        self._narrate = narrate
        self._state = first
        self._etag: str | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    def __enter__(self) -> Heart:
        self._etag = self._predecessor()
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def state(self) -> Heartbeat:
        """The content of the next beat."""
        with self._lock:
            return self._state

    def update(self, **changes: Any) -> None:
        """Change the content of the next beat."""
        with self._lock:
            self._state = dataclasses.replace(self._state, **changes)

    def count(self, **steps: float) -> None:
        """Add to figures of the next beat, such as ``tests_done=1``."""
        with self._lock:
            sums = {name: getattr(self._state, name) + step for name, step in steps.items()}
            self._state = dataclasses.replace(self._state, **sums)

    def end(self, state: ShardState, detail: str = "") -> Heartbeat:
        """Stop beating, write the last heartbeat, and return it."""
        self._over.set()
        self._thread.join()
        self.update(state=state, detail=detail, current="")
        if not self._taken:
            self._write()
        return self.state

    _taken = False

    def _predecessor(self) -> str | None:
        held = self._build.find_heartbeat(self._state.shard)
        return held.etag if held else None

    def _beat_on(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self._write()
            except StoreError as error:  # the lease may expire; the next beat tries again
                self._narrate(f"can't write the heartbeat: {error}")
            if self._taken:
                self._superseded()
                return

    def _write(self) -> None:
        self.count(beat=1)
        try:
            self._etag = self._build.put_heartbeat(self.state, self._etag)
        except PreconditionFailedError:
            held = self._build.find_heartbeat(self.state.shard)
            if held and held.value.token == self.state.token:
                self._etag = held.etag  # an earlier beat of ours whose response was lost
            else:
                self._taken = True
