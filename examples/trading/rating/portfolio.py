"""What a portfolio of loans is expected to lose, and what it may lose in a bad year."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from rating.grades import Grade


@dataclass(frozen=True)
class Loan:
    """Money lent: ``recovery`` is the share that comes back after a default."""

    amount: float
    grade: Grade
    recovery: float = 0.4

    @property
    def at_risk(self) -> float:
        """What a default would cost."""
        return self.amount * (1 - self.recovery)


def expected_loss(loans: Sequence[Loan]) -> float:
    """Return the mean loss of a year."""
    return sum(loan.at_risk * loan.grade.default_probability for loan in loans)


def simulate(loans: Sequence[Loan], *, years: int, correlation: float = 0.2, seed: int = 1) -> list[float]:
    """Return the loss of each simulated year, sorted; one common factor ties the defaults together."""
    if not 0 <= correlation < 1:
        raise ValueError(f"correlation {correlation} must be at least 0 and below 1")
    chance = random.Random(seed)
    thresholds = [_inverse_normal(loan.grade.default_probability) for loan in loans]
    common, own = math.sqrt(correlation), math.sqrt(1 - correlation)
    losses = []
    for _ in range(years):
        economy = common * chance.gauss(0, 1)
        losses.append(
            sum(
                loan.at_risk
                for loan, threshold in zip(loans, thresholds)
                if economy + own * chance.gauss(0, 1) < threshold
            )
        )
    return sorted(losses)


def value_at_risk(losses: Sequence[float], confidence: float = 0.99) -> float:
    """Return the loss that is exceeded with probability ``1 - confidence`` only."""
    if not losses:
        raise ValueError("there is nothing to take a quantile of")
    return sorted(losses)[min(len(losses) - 1, math.ceil(confidence * len(losses)) - 1)]


def shortfall(losses: Sequence[float], confidence: float = 0.99) -> float:
    """Return the mean of the losses beyond the value at risk."""
    limit = value_at_risk(losses, confidence)
    beyond = [loss for loss in losses if loss >= limit]
    return sum(beyond) / len(beyond)


def _inverse_normal(probability: float) -> float:
    """Return the point below which a standard normal lies with ``probability``, by bisection."""
    if probability <= 0:
        return -math.inf
    if probability >= 1:
        return math.inf
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        if 0.5 * math.erfc(-middle / math.sqrt(2)) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2
