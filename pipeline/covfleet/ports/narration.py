"""Progress reports of long operations."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (done, total) as a long operation advances; each user documents the unit."""

Narrate = Callable[[str], None]
"""Called with one line of plain text for a human, without a newline."""
