"""A limit order book: best price first, and among equals who came first."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from trades.orders import Order, RejectedOrder, Side, Trade


@dataclass(order=True)
class _Resting:
    rank: tuple[int, int]
    order: Order = field(compare=False)
    left: int = field(compare=False)


class OrderBook:
    """The resting orders of one symbol."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self._arrivals = itertools.count()
        self._sides: dict[Side, list[_Resting]] = {Side.BUY: [], Side.SELL: []}

    def submit(self, order: Order) -> list[Trade]:
        """Match an order; what is left of a limit order rests in the book."""
        if order.symbol != self.symbol:
            raise RejectedOrder(f"{order.symbol} is not traded in the book of {self.symbol}")
        trades, left = [], order.quantity
        for resting in self._matches(order):
            quantity = min(left, resting.left)
            trades.append(self._trade(order, resting, quantity))
            resting.left -= quantity
            left -= quantity
            if not left:
                break
        self._drop_filled(order.side.other)
        if left and order.price is not None:
            self._rest(order, left)
        return trades

    def submit_all(self, orders: Iterable[Order]) -> list[Trade]:
        """Match orders in their order of arrival."""
        return [trade for order in orders for trade in self.submit(order)]

    def cancel(self, client: str) -> int:
        """Take all orders of a client out of the book; return how many shares that were."""
        cancelled = 0
        for side, queue in self._sides.items():
            cancelled += sum(resting.left for resting in queue if resting.order.client == client)
            kept = [resting for resting in queue if resting.order.client != client]
            heapq.heapify(kept)
            self._sides[side] = kept
        return cancelled

    def best(self, side: Side) -> int | None:
        """Return the best price of a side, in cents."""
        queue = self._sides[side]
        return queue[0].order.price if queue else None

    @property
    def spread(self) -> int | None:
        """The cents between the best offers; none while a side is empty."""
        bid, ask = self.best(Side.BUY), self.best(Side.SELL)
        return None if bid is None or ask is None else ask - bid

    def depth(self, side: Side) -> dict[int, int]:
        """Return price -> shares, best price first."""
        levels: dict[int, int] = {}
        for resting in sorted(self._sides[side]):
            price = resting.order.price
            assert price is not None
            levels[price] = levels.get(price, 0) + resting.left
        return levels

    def _matches(self, order: Order) -> Iterator[_Resting]:
        for resting in sorted(self._sides[order.side.other]):
            price = resting.order.price
            if price is None or not order.accepts(price):
                return
            yield resting

    def _trade(self, order: Order, resting: _Resting, quantity: int) -> Trade:
        price = resting.order.price
        assert price is not None
        buyer, seller = (order, resting.order) if order.side is Side.BUY else (resting.order, order)
        return Trade(self.symbol, buyer.client, seller.client, quantity, price)

    def _rest(self, order: Order, left: int) -> None:
        assert order.price is not None
        rank = -order.price if order.side is Side.BUY else order.price
        heapq.heappush(self._sides[order.side], _Resting((rank, next(self._arrivals)), order, left))

    def _drop_filled(self, side: Side) -> None:
        queue = self._sides[side]
        while queue and not queue[0].left:
            heapq.heappop(queue)
