"""Skip a test by name when the machine lacks a part, or fail it when nothing may be skipped."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(part: str, how: str) -> NoReturn:
    """End the running test: ``part`` isn't there; ``how`` says how to get it.

    ``./scripts/test --all`` sets COVFLEET_TEST_ALL, which makes this a failure.
    """
    reason = f"{part} is missing: {how}"
    if os.environ.get("COVFLEET_TEST_ALL"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
