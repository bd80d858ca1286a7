"""Matching: price first, then time."""

import random

import pytest

from trades import Order, OrderBook, RejectedOrder, Side


def order(client, side, quantity, price=None):
    return Order(client, "NESN", side, quantity, price)


@pytest.fixture
def book():
    book = OrderBook("NESN")
    book.submit(order("slow", Side.SELL, 10, 101))
    book.submit(order("late", Side.SELL, 10, 100))
    book.submit(order("last", Side.SELL, 10, 100))
    return book


def test_another_symbol_is_rejected(book):
    with pytest.raises(RejectedOrder, match="NOVN"):
        book.submit(Order("ann", "NOVN", Side.BUY, 1))


def test_an_empty_book_trades_nothing():
    assert OrderBook("NESN").submit(order("ann", Side.BUY, 1)) == []


def test_the_best_price_trades_first_and_then_who_came_first(book):
    trades = book.submit(order("ann", Side.BUY, 25, 101))
    assert [(trade.seller, trade.quantity, trade.price) for trade in trades] == [
        ("late", 10, 100),
        ("last", 10, 100),
        ("slow", 5, 101),
    ]


def test_a_limit_order_rests_with_what_is_left(book):
    book.submit(order("ann", Side.BUY, 30, 100))
    assert book.depth(Side.BUY) == {100: 10}
    assert book.depth(Side.SELL) == {101: 10}
    assert book.spread == 1


def test_a_market_order_never_rests(book):
    book.submit(order("ann", Side.BUY, 100))
    assert book.best(Side.BUY) is None
    assert book.best(Side.SELL) is None
    assert book.spread is None


def test_orders_too_far_apart_do_not_trade(book):
    assert book.submit(order("ann", Side.BUY, 5, 99)) == []


def test_cancelling_takes_a_client_out(book):
    assert book.cancel("late") == 10
    assert book.submit(order("ann", Side.BUY, 10))[0].seller == "last"


def test_cancelling_a_stranger_changes_nothing(book):
    assert book.cancel("nobody") == 0
    assert book.depth(Side.SELL) == {100: 20, 101: 10}


@pytest.mark.parametrize("seed", range(8))
def test_no_share_appears_or_vanishes(seed):
    chance = random.Random(seed)
    book, submitted = OrderBook("NESN"), {Side.BUY: 0, Side.SELL: 0}
    traded = 0
    for number in range(400):
        side = chance.choice(list(Side))
        quantity = chance.randint(1, 50)
        submitted[side] += quantity
        traded += sum(
            trade.quantity
            for trade in book.submit(order(f"c{number}", side, quantity, chance.randint(90, 110)))
        )
    for side in Side:
        assert sum(book.depth(side).values()) == submitted[side] - traded
    bid, ask = book.best(Side.BUY), book.best(Side.SELL)
    assert bid is None or ask is None or bid < ask
