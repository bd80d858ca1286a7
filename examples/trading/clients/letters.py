"""Letters to clients. The statement is used every day; the reminders have yet to be tested."""

from __future__ import annotations

from clients.registry import Client

GREETINGS = {"CH": "Grüezi", "DE": "Guten Tag", "FR": "Bonjour", "IT": "Buongiorno"}


def statement(client: Client, holdings: dict[str, int]) -> str:
    """Return a client's holdings as a letter."""
    greeting = GREETINGS.get(client.country, "Hello")
    lines = [f"{symbol:<8}{quantity:>10}" for symbol, quantity in sorted(holdings.items()) if quantity]
    return "\n".join([f"{greeting} {client.name}", "", *(lines or ["You hold nothing."])])


def reminder(client: Client, days_late: int, owed: int) -> str:
    """Return a reminder, sharper with every week."""
    if days_late <= 0:
        raise ValueError("nothing is late")
    if days_late < 7:
        tone = "Perhaps it slipped your mind"
    elif days_late < 30:
        tone = "Please pay at once"
    else:
        tone = "We have closed your account"
    return f"{client.name}: {tone}: {owed / 100:.2f} since {days_late} days."


def envelope(client: Client) -> str:
    """Return what is printed on the envelope."""
    country = "" if client.country == "CH" else f"\n{client.country}"
    return f"{client.name}\n{client.mail}{country}"
