"""Environments that the tests of this folder share: each is made once, when it is first needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.installations import Tools


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    """The wheel, and what installs it."""
    return Tools(tmp_path_factory.mktemp("installations"))


@pytest.fixture(scope="session")
def suite_python(tools: Tools) -> Path:
    """The interpreter of an environment as a project has it: pytest, coverage, and nothing of covfleet."""
    return tools.environment(tools.folder / "suite", "pytest", "coverage")
