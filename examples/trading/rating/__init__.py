"""How likely a client is to pay: scores, grades, and what a portfolio may lose."""

from rating.grades import Grade, grade, migrated
from rating.portfolio import Loan, expected_loss, value_at_risk
from rating.score import Accounts, score

__all__ = ["Accounts", "Grade", "Loan", "expected_loss", "grade", "migrated", "score", "value_at_risk"]
