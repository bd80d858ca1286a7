"""Releases of coverage.py: the oldest that covfleet takes, the known good one, the newest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import coverage

from support.kept import kept
from support.needs import missing

ROOT = Path(__file__).parents[2]

OLDEST = "7.10.6"
KNOWN_GOOD = re.findall(r"^coverage==(.+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)[0]
ASKED_FOR = tuple(os.environ.get("COVFLEET_TEST_COVERAGE", "").split())
"""Further ones, with blanks between them, for whoever wants to know."""


def newest() -> str:
    """Return the newest release that pip finds."""
    found = _pip("install", "--dry-run", "--report=-", "--ignore-installed", "--no-deps", "coverage")
    if found.returncode:
        missing("the newest coverage", f"pip can't tell which it is: {found.stderr[-300:]}")
    version: str = json.loads(found.stdout)["install"][0]["metadata"]["version"]
    return version


def import_path(version: str) -> str:
    """Return what PYTHONPATH must hold for a release to be imported, instead of the environment's own."""
    if version == coverage.__version__:
        return ""

    def install(folder: Path) -> None:
        done = _pip("install", "--no-deps", f"--target={folder}", f"coverage=={version}")
        if done.returncode:
            missing(f"coverage {version}", f"pip can't install it: {done.stderr[-300:]}")

    return str(kept(f"coverage/{version}-{sys.implementation.cache_tag}", install))


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    return subprocess.run(command, env=environment, timeout=120, check=False, capture_output=True, text=True)
