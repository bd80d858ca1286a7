"""Reads orders from CSV: client,symbol,side,quantity,price."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator

from trades.orders import Order, RejectedOrder, Side


class BadFeed(ValueError):
    """A line that is no order."""


def cents(text: str) -> int:
    """Return a price such as ``12.50`` in cents."""
    whole, _, part = text.strip().partition(".")
    if not whole.isdigit() or (part and not part.isdigit()) or len(part) > 2:
        raise ValueError(f"{text!r} is not a price")
    return int(whole) * 100 + int(part.ljust(2, "0") or 0)


def read(lines: Iterable[str]) -> Iterator[Order]:
    """Yield the orders; empty lines and comments are skipped."""
    for number, row in enumerate(csv.reader(lines), 1):
        if not row or row[0].startswith("#"):
            continue
        try:
            client, symbol, side, quantity, price = (cell.strip() for cell in row)
            yield Order(client, symbol, Side(side), int(quantity), cents(price) if price else None)
        except (ValueError, RejectedOrder) as error:
            raise BadFeed(f"line {number}: {error}") from error
