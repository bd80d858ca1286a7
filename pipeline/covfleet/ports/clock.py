"""Time, as stages need it."""

from __future__ import annotations

import datetime
from typing import Protocol


class Clock(Protocol):
    """Time. Machines' wall clocks may differ by hours: compare only what one clock said."""

    def now(self) -> datetime.datetime:
        """Return the wall clock's time in UTC."""

    def monotonic(self) -> float:
        """Return seconds from a fixed, arbitrary point; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Wait."""
