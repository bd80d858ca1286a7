"""The channel to the agent, and the text that it can carry."""

from __future__ import annotations

import json
import os
from typing import Any, Optional

MAX_TEXT = 64 * 1024  # characters of a traceback or captured output; the middle of longer texts is cut


def clean(text: str) -> str:
    """Return ``text`` without lone surrogates, which neither JSON nor XML can contain, and without NUL.

    Neither can a data file: SQLite ends a text there. Both are written as pytest escapes them in test ids.
    """
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def shortened(text: str) -> str:
    """Return ``text`` with its middle cut out if it is longer than ``MAX_TEXT`` characters."""
    if len(text) <= MAX_TEXT:
        return clean(text)
    half = MAX_TEXT // 2
    return clean(f"{text[:half]}\n[... {len(text) - MAX_TEXT} characters cut ...]\n{text[-half:]}")


class Channel:
    """The two pipes to the agent, moved away from the standard streams, which belong to the tests."""

    def __init__(self) -> None:
        self._commands = os.fdopen(os.dup(0), "rb")
        self._events = os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)

    def receive(self) -> Optional[dict[str, Any]]:
        """Return the next command, or ``None`` at the end of the input."""
        line = self._commands.readline()
        return json.loads(line) if line else None

    def send(self, event: str, **fields: Any) -> None:
        """Send one event."""
        data = json.dumps({"event": event, **fields}, separators=(",", ":")).encode() + b"\n"
        while data:
            data = data[os.write(self._events, data) :]
