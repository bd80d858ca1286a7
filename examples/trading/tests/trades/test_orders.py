"""What may reach the book."""

import pytest

from trades import Order, RejectedOrder, Side, Trade


@pytest.mark.parametrize("symbol", ["", "nesn", "NES N", "NESN1"])
def test_a_bad_symbol_is_rejected(symbol):
    with pytest.raises(RejectedOrder, match="symbol"):
        Order("ann", symbol, Side.BUY, 1)


@pytest.mark.parametrize("quantity", [0, -1, 1_000_001])
def test_a_quantity_out_of_range_is_rejected(quantity):
    with pytest.raises(RejectedOrder, match="range"):
        Order("ann", "NESN", Side.BUY, quantity)


def test_a_price_must_be_positive():
    with pytest.raises(RejectedOrder, match="positive"):
        Order("ann", "NESN", Side.BUY, 1, 0)


@pytest.mark.parametrize(
    ("side", "price", "accepted"),
    [
        (Side.BUY, 99, True),
        (Side.BUY, 100, True),
        (Side.BUY, 101, False),
        (Side.SELL, 99, False),
        (Side.SELL, 101, True),
    ],
)
def test_a_limit_is_kept(side, price, accepted):
    assert Order("ann", "NESN", side, 1, 100).accepts(price) is accepted


def test_an_order_without_a_limit_takes_any_price():
    assert Order("ann", "NESN", Side.BUY, 1).accepts(10**9)


def test_sides_face_each_other():
    assert Side.BUY.other is Side.SELL
    assert Side.SELL.other is Side.BUY


def test_a_trade_is_worth_price_times_quantity():
    assert Trade("NESN", "ann", "bob", 3, 250).value == 750
