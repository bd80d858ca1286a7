"""What clients send, and what the market makes of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

LARGEST_ORDER = 1_000_000


class RejectedOrder(ValueError):
    """An order that may not reach the book."""


class Side(enum.Enum):
    """Which way an order trades."""

    BUY = "buy"
    SELL = "sell"

    @property
    def other(self) -> Side:
        """The side that this one trades with."""
        return Side.SELL if self is Side.BUY else Side.BUY


@dataclass(frozen=True)
class Order:
    """An order for ``quantity`` shares; ``price`` in cents, or none for "at any price"."""

    client: str
    symbol: str
    side: Side
    quantity: int
    price: int | None = None

    def __post_init__(self) -> None:
        if not self.symbol.isalpha() or not self.symbol.isupper():
            raise RejectedOrder(f"{self.symbol!r} is not a symbol")
        if not 0 < self.quantity <= LARGEST_ORDER:
            raise RejectedOrder(f"quantity {self.quantity} is out of range")
        if self.price is not None and self.price <= 0:
            raise RejectedOrder(f"price {self.price} is not positive")

    def accepts(self, price: int) -> bool:
        """Say whether the order may trade at ``price``."""
        if self.price is None:
            return True
        return price <= self.price if self.side is Side.BUY else price >= self.price


@dataclass(frozen=True)
class Trade:
    """Two orders met."""

    symbol: str
    buyer: str
    seller: str
    quantity: int
    price: int

    @property
    def value(self) -> int:
        """What the buyer pays, in cents."""
        return self.quantity * self.price
