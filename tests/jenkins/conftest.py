"""A project that Jenkins is to build, and its settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from covfleet.settings.load import load_settings
from covfleet.settings.schema import Settings

PYPROJECT = """\
[tool.covfleet]
shards = 3

[tool.covfleet.jenkins]
repository = "https://git.example.org/team/app.git"
folder = "team/coverage"

[tool.covfleet.jenkins.ec2]
ami = "ami-0123456789abcdef0"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with everything set that its generated files need."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT, "utf-8")
    return folder


Load = Callable[..., Settings]


@pytest.fixture
def load(project: Path) -> Load:
    """Load the project's settings, some of them replaced: ``load({"jenkins.job": "x"}, shards=6)``."""

    def loaded(flags: dict[str, object] | None = None, **more: object) -> Settings:
        return load_settings(project, {**(flags or {}), **more}, {})

    return loaded
