"""A score from a client's accounts: 0 is broke, 100 is beyond doubt."""

from __future__ import annotations

from dataclasses import dataclass

WEIGHTS = {"liquidity": 25, "leverage": 35, "profitability": 25, "coverage": 15}


@dataclass(frozen=True)
class Accounts:
    """The figures of one year, in any one currency."""

    assets: float
    liabilities: float
    cash: float
    revenue: float
    profit: float
    interest: float = 0.0

    def __post_init__(self) -> None:
        if self.assets <= 0:
            raise ValueError("a client without assets can't be rated")


def ratios(accounts: Accounts) -> dict[str, float]:
    """Return each ratio, from 0 (worst) to 1 (best)."""
    return {
        "liquidity": _clamped(accounts.cash / accounts.liabilities) if accounts.liabilities else 1.0,
        "leverage": _clamped(1 - accounts.liabilities / accounts.assets),
        "profitability": _clamped(accounts.profit / accounts.revenue * 4) if accounts.revenue > 0 else 0.0,
        "coverage": _clamped(accounts.profit / accounts.interest / 5) if accounts.interest else 1.0,
    }


def score(accounts: Accounts, *, late_payments: int = 0) -> int:
    """Return the weighted score; every late payment costs five points, the first is forgiven."""
    total = sum(WEIGHTS[name] * value for name, value in ratios(accounts).items())
    if late_payments > 1:
        total -= 5 * (late_payments - 1)
    return max(0, round(total))


def explain(accounts: Accounts) -> str:
    """Return the score's parts as text, weakest first."""
    parts = sorted(ratios(accounts).items(), key=lambda part: part[1])
    lines = [f"{name:<14}{value:>6.0%}  weight {WEIGHTS[name]}" for name, value in parts]
    return "\n".join([f"score {score(accounts)}", *lines])


def _clamped(value: float) -> float:
    return min(1.0, max(0.0, value))
