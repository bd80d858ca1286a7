"""How much a client may have at stake, by grade."""

from __future__ import annotations

from dataclasses import dataclass, field

from rating.grades import Grade

BASE_LIMIT = 10_000_000


class LimitExceeded(RuntimeError):
    """The order would put too much at stake."""


@dataclass
class Limits:
    """The limits in cents; a client without a grade gets the least."""

    grades: dict[str, Grade] = field(default_factory=dict)
    overrides: dict[str, int] = field(default_factory=dict)

    def of(self, client: str) -> int:
        """Return a client's limit: halved with every grade below the best."""
        if client in self.overrides:
            return self.overrides[client]
        grade = self.grades.get(client, Grade.B)
        return 0 if grade is Grade.D else BASE_LIMIT >> grade.value

    def check(self, client: str, exposure: int, value: int) -> None:
        """Raise ``LimitExceeded`` if ``value`` more cents are too many."""
        limit = self.of(client)
        if exposure + value > limit:
            over = exposure + value - limit
            raise LimitExceeded(f"{client} would be {over / 100:.2f} over the limit of {limit / 100:.2f}")

    def headroom(self, client: str, exposure: int) -> int:
        """Return how many more cents a client may put at stake."""
        return max(0, self.of(client) - exposure)
