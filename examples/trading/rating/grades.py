"""Letters for scores, and how they wander from year to year."""

from __future__ import annotations

import enum


class Grade(enum.IntEnum):
    """From best to worst."""

    AAA = 0
    AA = 1
    A = 2
    BBB = 3
    BB = 4
    B = 5
    D = 6

    @property
    def is_investment(self) -> bool:
        """Whether a pension fund may hold it."""
        return self <= Grade.BBB

    @property
    def default_probability(self) -> float:
        """The chance to default within a year, doubling and more with every step down."""
        return 1.0 if self is Grade.D else 0.0002 * 3.2**self.value


_FLOORS = ((90, Grade.AAA), (80, Grade.AA), (70, Grade.A), (55, Grade.BBB), (40, Grade.BB), (20, Grade.B))


def grade(score: int) -> Grade:
    """Return the grade of a score from 0 to 100."""
    if not 0 <= score <= 100:
        raise ValueError(f"score {score} is not between 0 and 100")
    for floor, letter in _FLOORS:
        if score >= floor:
            return letter
    return Grade.D


def transition_matrix(stickiness: float = 0.9) -> list[list[float]]:
    """Return the chances to move from each grade to each other in a year; every row adds up to 1."""
    if not 0 <= stickiness <= 1:
        raise ValueError(f"stickiness {stickiness} is no probability")
    rows = []
    for start in Grade:
        if start is Grade.D:
            rows.append([float(end is Grade.D) for end in Grade])
            continue
        weights = [0.0 if end is start else 1 / abs(end - start) ** 3 for end in Grade]
        moving = sum(weights)
        rows.append(
            [stickiness if end is start else (1 - stickiness) * weights[end] / moving for end in Grade]
        )
    return rows


def migrated(start: Grade, years: int, stickiness: float = 0.9) -> list[float]:
    """Return where a client may stand after some years, as a probability for each grade."""
    matrix = transition_matrix(stickiness)
    state = [float(grade is start) for grade in Grade]
    for _ in range(years):
        state = [sum(state[source] * matrix[source][end] for source in Grade) for end in Grade]
    return state
