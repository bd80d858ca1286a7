"""The machine's own clock."""

from __future__ import annotations

import datetime
import time


class SystemClock:
    """Implements ``ports.Clock``."""

    def now(self) -> datetime.datetime:
        """Return the time in UTC."""
        return datetime.datetime.now(datetime.UTC)

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary fixed point."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait this many seconds."""
        time.sleep(seconds)
