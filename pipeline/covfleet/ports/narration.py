"""What long work says while it goes on."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (done, total) as a long operation advances; objects, bytes or tests, as documented."""

Narrate = Callable[[str], None]
"""Called with one line of plain text for a human, without a newline."""
