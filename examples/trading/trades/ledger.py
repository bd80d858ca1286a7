"""Books trades: who holds how much of what, and what it earned."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from trades.orders import Trade


@dataclass(frozen=True)
class Position:
    """Shares held (negative: owed), what they cost, and what sales have earned; money in cents."""

    quantity: int = 0
    cost: int = 0
    realized: int = 0

    def bought(self, quantity: int, price: int) -> Position:
        """Return the position after a purchase; buying back what is owed realizes a gain or a loss."""
        if self.quantity >= 0:
            return replace(self, quantity=self.quantity + quantity, cost=self.cost + quantity * price)
        return self._mirrored().sold(quantity, -price)._mirrored()

    def sold(self, quantity: int, price: int) -> Position:
        """Return the position after a sale, at average cost."""
        if self.quantity < 0:
            return self._mirrored().bought(quantity, -price)._mirrored()
        closing = min(quantity, self.quantity)
        released = self.cost * closing // self.quantity if closing else 0
        closed = Position(
            self.quantity - closing, self.cost - released, self.realized + closing * price - released
        )
        short = quantity - closing
        return replace(closed, quantity=-short, cost=-short * price) if short else closed

    def _mirrored(self) -> Position:
        return Position(-self.quantity, self.cost, self.realized)

    def unrealized(self, price: int) -> int:
        """Return the gain if everything were closed at ``price``."""
        return self.quantity * price - self.cost


class Ledger:
    """All positions; may be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._positions: dict[tuple[str, str], Position] = {}

    def book(self, trade: Trade) -> None:
        """Enter both sides of a trade."""
        with self._lock:
            buyer, seller = (trade.buyer, trade.symbol), (trade.seller, trade.symbol)
            self._positions[buyer] = self.position(*buyer).bought(trade.quantity, trade.price)
            self._positions[seller] = self.position(*seller).sold(trade.quantity, trade.price)

    def position(self, client: str, symbol: str) -> Position:
        """Return what a client holds of a symbol."""
        return self._positions.get((client, symbol), Position())

    def exposure(self, client: str) -> int:
        """Return the cents that a client has at stake."""
        return sum(abs(held.cost) for (owner, _), held in self._positions.items() if owner == client)

    def is_flat(self, symbol: str) -> bool:
        """Say whether all that is held of a symbol is owed by someone else."""
        return not sum(
            held.quantity for (_, held_symbol), held in self._positions.items() if held_symbol == symbol
        )
