"""A trading day from the first order to the evening's ratings."""

import unittest

from clients import Client, LimitExceeded, Limits, Registry
from rating import Accounts, Grade, grade, score
from trades import Ledger, Order, OrderBook, Side


class TradingDay(unittest.TestCase):
    """Three clients meet in one book."""

    def setUp(self):
        self.registry = Registry()
        for name in ("ann", "bob", "eve"):
            self.registry.add(Client(name, f"{name}@example.org"))
        self.book, self.ledger = OrderBook("NESN"), Ledger()

    def trade(self, client, side, quantity, price=None):
        for trade in self.book.submit(Order(client, "NESN", side, quantity, price)):
            self.ledger.book(trade)

    def test_the_books_balance_in_the_evening(self):
        self.trade("bob", Side.SELL, 100, 9950)
        self.trade("ann", Side.BUY, 60, 9950)
        self.trade("eve", Side.BUY, 60, 9960)
        self.assertTrue(self.ledger.is_flat("NESN"))
        self.assertEqual(self.ledger.position("bob", "NESN").quantity, -100)
        self.assertEqual(self.book.depth(Side.BUY), {9960: 20})

    def test_a_bad_rating_ends_the_day_early(self):
        accounts = Accounts(assets=100, liabilities=95, cash=5, revenue=80, profit=-10, interest=6)
        limits = Limits({"eve": grade(score(accounts))})
        self.assertIs(limits.grades["eve"], Grade.D)
        with self.assertRaises(LimitExceeded):
            limits.check("eve", self.ledger.exposure("eve"), 1)

    def test_who_leaves_takes_the_orders_along(self):
        self.trade("bob", Side.SELL, 100, 9950)
        self.registry.deactivate("bob")
        self.book.cancel("bob")
        self.trade("ann", Side.BUY, 60)
        self.assertEqual(self.ledger.exposure("ann"), 0)


if __name__ == "__main__":
    unittest.main()
