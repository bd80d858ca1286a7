"""Other interpreters than the running one, and virtual environments for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.needs import missing


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
        return candidate
    return None


def monitoring_interpreter() -> str:
    """Return the version of an interpreter that has ``sys.monitoring``; without one the test is skipped."""
    version = next((each for each in ("3.13", "3.12", "3.14") if interpreter(each)), None)
    if version is None:
        missing("Python 3.12 or newer", "install one beside the running interpreter, or on the PATH")
    return version


def environment(folder: Path, version: str, *packages: str) -> Path:
    """Make a virtual environment with these packages and return its interpreter."""
    subprocess.run([str(interpreter(version)), "-m", "venv", str(folder)], check=True, timeout=120)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    ran = subprocess.run(install, capture_output=True, text=True, check=False, timeout=300)
    if ran.returncode:
        missing(" ".join(packages), f"pip can't install it: {ran.stderr[-300:]}")
    return python
