"""How much a client may have at stake, and the letter that says it."""

import pytest

from clients import Client, LimitExceeded, Limits
from clients.letters import statement
from rating import Grade


@pytest.mark.parametrize(
    ("letter", "limit"), [(Grade.AAA, 10_000_000), (Grade.AA, 5_000_000), (Grade.B, 312_500), (Grade.D, 0)]
)
def test_every_step_down_halves_the_limit(letter, limit):
    assert Limits({"ann": letter}).of("ann") == limit


def test_a_stranger_gets_the_least():
    assert Limits().of("eve") == Limits({"ann": Grade.B}).of("ann")


def test_an_override_wins():
    assert Limits({"ann": Grade.D}, {"ann": 5}).of("ann") == 5


def test_an_order_within_the_limit_passes():
    Limits(overrides={"ann": 100}).check("ann", 60, 40)


def test_an_order_beyond_the_limit_says_by_how_much():
    with pytest.raises(LimitExceeded, match="ann would be 0.01 over the limit of 1.00"):
        Limits(overrides={"ann": 100}).check("ann", 60, 41)


def test_headroom_never_goes_below_zero():
    limits = Limits(overrides={"ann": 100})
    assert limits.headroom("ann", 30) == 70
    assert limits.headroom("ann", 130) == 0


@pytest.mark.parametrize(("country", "greeting"), [("CH", "Grüezi"), ("FR", "Bonjour"), ("JP", "Hello")])
def test_a_statement_greets_in_the_clients_language(country, greeting):
    letter = statement(Client("Ann", "ann@example.org", country), {"NESN": 5, "NOVN": 0})
    assert letter.startswith(f"{greeting} Ann")
    assert "NESN" in letter
    assert "NOVN" not in letter


def test_a_statement_without_holdings_says_so():
    assert "nothing" in statement(Client("Ann", "ann@example.org"), {})
