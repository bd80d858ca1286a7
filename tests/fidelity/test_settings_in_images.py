"""An image whose .dockerignore keeps .coveragerc out measures as the checkout says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.fidelity import coverage_run, covfleet, project

pytestmark = pytest.mark.docker


def test_the_settings_reach_an_image_that_lacks_the_file(tmp_path: Path, base_image: str) -> None:
    files = {
        ".coveragerc": "[run]\nsource = shop\nbranch = true\nomit = */unused.py\n"
        "[report]\nexclude_also = return -1\n",
        ".dockerignore": ".*\n",
    }
    env = {
        "COVFLEET_EXECUTOR": "docker",
        "COVFLEET_IMAGE__BASE": base_image,
        "COVFLEET_IMAGE__CA_BUNDLE": os.environ.get("PIP_CERT", ""),
    }
    app = project(tmp_path / "app", files)
    wanted, found = coverage_run(app, tmp_path / "oracle"), covfleet(app, 2, env)
    assert found.status == 0, found.output
    assert wanted.files
    assert (found.files, found.totals) == (wanted.files, wanted.totals)
    assert "the image has no .coveragerc" in found.output
