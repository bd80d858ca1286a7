"""Other interpreters than the running one, and virtual environments for them."""

from __future__ import annotations

import datetime
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from support.kept import ROOT, kept
from support.needs import missing

NEWEST = ("coverage", "pytest", "pytest-cov", "greenlet")
"""What applications have that keep up with the releases: one environment an interpreter serves many tests."""


@functools.cache
def interpreter(version: str) -> str | None:
    """Return an interpreter of this minor version, ``None`` if the machine has none."""
    if version == "running":
        return sys.executable
    beside = sorted(Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python"))  # as pyenv keeps them
    for candidate in [f"python{version}", *map(str, beside)]:
        try:
            subprocess.run([candidate, "-c", "import ensurepip"], check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            continue
        return shutil.which(candidate)
    return None


def monitoring_interpreter() -> str:
    """Return the version of an interpreter that has ``sys.monitoring``; without one the test is skipped."""
    version = next((each for each in ("3.13", "3.12", "3.14") if interpreter(each)), None)
    if version is None:
        missing("Python 3.12 or newer", "install one beside the running interpreter, or on the PATH")
    return version


def environment(version: str, *packages: str) -> Path:
    """Return the interpreter of a virtual environment with these packages, which no test may change.

    It is made once and kept for all processes. Of what isn't pinned it has the newest release of the day.
    """
    python = str(interpreter(version))
    pinned = all("==" in package for package in packages)
    day = "pinned" if pinned else f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    known_by = hashlib.sha256(repr((os.path.realpath(python), packages)).encode()).hexdigest()[:12]
    name = f"environments/{day}/{version}-{known_by}"
    folder = kept(name, lambda folder: _make(folder, python, packages))
    return folder / "bin" / "python"


def _make(folder: Path, python: str, packages: Sequence[str]) -> None:
    _remove_outdated()
    subprocess.run([python, "-m", "venv", str(folder)], check=True, timeout=120)
    install = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    unbound = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    ran = subprocess.run(
        [*install, *packages], env=unbound, capture_output=True, text=True, check=False, timeout=300
    )
    if ran.returncode:
        missing(" ".join(packages), f"pip can't install it: {ran.stderr[-300:]}")


def _remove_outdated() -> None:
    """Remove the newest releases of days that no test runs on any more."""
    yesterday = f"{datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1):%Y-%m-%d}"
    for day in (ROOT / "environments").glob("20*"):
        if day.name < yesterday:
            shutil.rmtree(day, ignore_errors=True)
