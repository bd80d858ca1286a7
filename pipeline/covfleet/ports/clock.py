"""The port to the clock."""

from __future__ import annotations

import datetime
from typing import Protocol


class Clock(Protocol):
    """A clock. Wall clocks of machines may differ by hours: compare only times from the same clock."""

    def now(self) -> datetime.datetime:
        """Return the wall clock's time in UTC."""

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary fixed point; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Wait this many seconds."""
