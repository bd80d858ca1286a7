"""A pytest plugin: lets threads take turns much more often, so that their races end in other ways, too."""

from __future__ import annotations

import sys

import pytest

EAGER_S = 1e-6  # Python's own is 5000 times as long


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Do it for each test anew: some set the interval themselves, and then back to Python's own."""
    sys.setswitchinterval(EAGER_S)
