"""Positions and what they earn."""

import threading

import pytest

from trades import Ledger, Position, Trade


def test_buying_twice_averages_the_cost():
    held = Position().bought(10, 100).bought(10, 200)
    assert (held.quantity, held.cost) == (20, 3000)
    assert held.unrealized(200) == 1000


def test_selling_realizes_the_gain_at_average_cost():
    assert Position().bought(10, 100).sold(4, 150) == Position(6, 600, 200)


def test_selling_more_than_is_held_goes_short():
    assert Position().bought(10, 100).sold(15, 120) == Position(-5, -600, 200)


@pytest.mark.parametrize(("price", "gain"), [(80, 200), (100, 0), (130, -300)])
def test_a_short_position_earns_when_the_price_falls(price, gain):
    short = Position().sold(10, 100)
    assert short.unrealized(price) == gain
    assert short.bought(10, price) == Position(0, 0, gain)


def test_buying_more_than_is_owed_goes_long():
    assert Position().sold(10, 100).bought(15, 90) == Position(5, 450, 100)


def test_a_short_position_can_grow():
    assert Position().sold(10, 100).sold(10, 120) == Position(-20, -2200, 0)


def test_both_sides_of_a_trade_are_booked():
    ledger = Ledger()
    ledger.book(Trade("NESN", "ann", "bob", 5, 100))
    assert ledger.position("ann", "NESN").quantity == 5
    assert ledger.position("bob", "NESN").quantity == -5
    assert ledger.exposure("bob") == 500
    assert ledger.position("eve", "NESN") == Position()


def test_threads_lose_no_trade():
    ledger = Ledger()

    def trade_a_lot():
        for _ in range(500):
            ledger.book(Trade("NESN", "ann", "bob", 1, 100))

    threads = [threading.Thread(target=trade_a_lot) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.position("ann", "NESN") == Position(2000, 200_000)
    assert ledger.is_flat("NESN")
