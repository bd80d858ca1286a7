"""What the tests of sudden ends share: one planned build, and what it gives undisturbed."""

from __future__ import annotations

import pytest
from support.spread import Planned, plan_spread_project


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    """A build that is planned once, and copied by each test."""
    return plan_spread_project(tmp_path_factory.mktemp("spread"))
