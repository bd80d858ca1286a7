"""``python -m trades FILE``: match a file of orders and print the trades."""

from __future__ import annotations

import sys
from pathlib import Path

from trades import Ledger, OrderBook
from trades.feed import BadFeed, read


def main(arguments: list[str]) -> int:
    """Match the file and return the exit status."""
    if len(arguments) != 1:
        print("usage: python -m trades FILE", file=sys.stderr)
        return 2
    books: dict[str, OrderBook] = {}
    ledger = Ledger()
    try:
        for order in read(Path(arguments[0]).read_text("utf-8").splitlines()):
            book = books.setdefault(order.symbol, OrderBook(order.symbol))
            for trade in book.submit(order):
                ledger.book(trade)
                print(
                    f"{trade.buyer} buys {trade.quantity} {trade.symbol} of {trade.seller} at {trade.price / 100:.2f}"
                )
    except (OSError, BadFeed) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
