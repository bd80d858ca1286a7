"""Losses of a portfolio, expected and simulated."""

import pytest

from rating import Grade, Loan, expected_loss, value_at_risk
from rating.portfolio import shortfall, simulate

LOANS = [Loan(1000, letter) for letter in (Grade.A, Grade.BBB, Grade.BB, Grade.B) for _ in range(10)]


def test_expected_loss_adds_up():
    assert expected_loss([Loan(100, Grade.D), Loan(100, Grade.D, recovery=1)]) == pytest.approx(60)


@pytest.mark.parametrize("correlation", [-0.1, 1])
def test_a_correlation_out_of_range_is_refused(correlation):
    with pytest.raises(ValueError, match="correlation"):
        simulate(LOANS, years=1, correlation=correlation)


@pytest.mark.parametrize("correlation", [0, 0.2, 0.5])
def test_the_simulation_agrees_with_the_expectation(correlation):
    losses = simulate(LOANS, years=6000, correlation=correlation)
    assert sum(losses) / len(losses) == pytest.approx(expected_loss(LOANS), rel=0.15)


def test_correlation_fattens_the_tail():
    apart, together = (simulate(LOANS, years=4000, correlation=each) for each in (0, 0.6))
    assert value_at_risk(together) > value_at_risk(apart)
    assert shortfall(together) > shortfall(apart)


def test_the_same_seed_gives_the_same_years():
    assert simulate(LOANS, years=200, seed=7) == simulate(LOANS, years=200, seed=7)


def test_the_defaulted_always_lose():
    assert simulate([Loan(100, Grade.D)], years=3) == [60, 60, 60]


def test_a_quantile_of_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing"):
        value_at_risk([])


def test_the_quantile_is_one_of_the_losses():
    assert value_at_risk([1, 2, 3, 4], 0.5) == 2
    assert shortfall([1, 2, 3, 4], 0.5) == 3
