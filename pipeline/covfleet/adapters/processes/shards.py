"""The shards of a local run: each is a ``covfleet shard K`` process, as Jenkins would start it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_WORDS_BYTES = 4000


class ShardCommand:
    """A running shard whose output goes to a log file."""

    def __init__(self, shard: int, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.shard = shard
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only `covfleet run`, which stops its shards
            )

    def poll(self) -> int | None:
        """Return its exit status (negative: the signal that killed it), or ``None`` while it is running."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to stop its workers and exit."""
        self._process.terminate()

    def kill(self) -> None:
        """Kill it and wait for its end."""
        self._process.kill()
        self._process.wait()

    def last_words(self) -> str:
        """Return the end of its log."""
        return self._log.read_bytes()[-_WORDS_BYTES:].decode("utf-8", "replace").strip()
