"""The reports that coverage.py doesn't have: summary, JUnit, badge, and the wording of verdicts."""
