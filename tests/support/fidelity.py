"""A small project, measured once by the team's own command and once by covfleet, and what each says of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coverage import CoverageData

from support.runs import write_project

SHOP = "def add(a, b):\n    if a > 100:\n        return -1\n    return a + b\n"
TEST = "from shop import add\n\n\ndef test_{0}():\n    assert add({0}, 1) == 1 + {0}\n"
PYTEST = '[tool.pytest.ini_options]\ntestpaths = ["tests"]\npythonpath = ["."]\n'
COVFLEET = "[tool.covfleet]\nbatch_s = 0.01\n"
APP = {
    "shop/__init__.py": SHOP,
    "shop/unused.py": "def never():\n    return 1\n",
    "pyproject.toml": PYTEST + COVFLEET,
    ".gitignore": "__pycache__/\n.covfleet/\n",
    **{f"tests/test_{n}.py": TEST.format(n) for n in (1, 2, 3)},
}


@dataclass(frozen=True)
class Ran:
    """What a command gave: exit status, what it printed, the files and totals of ``coverage json``."""

    status: int
    output: str
    files: Mapping[str, Any] = field(default_factory=dict)
    totals: Mapping[str, Any] = field(default_factory=dict)


def project(folder: Path, files: Mapping[str, str], addopts: str = "", covfleet: str = "") -> Path:
    """Write the small application with ``files`` in it, as a git repository."""
    said = f"addopts = {json.dumps(addopts)}\n" if addopts else ""
    base = {"pyproject.toml": f"{PYTEST}{said}{COVFLEET}{covfleet}"}
    write_project(folder, {**APP, **base, **files})
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "app"]):
        subprocess.run([*git, *words], cwd=folder, check=True, capture_output=True)
    return folder


def serial(app: Path, folder: Path, command: Sequence[str], env: Mapping[str, str] | None = None) -> Ran:
    """Run the team's own command, words after ``python -m``, in a copy; ``oracle.json`` is its report."""
    shutil.copytree(app, folder)
    status, output = _run([sys.executable, "-m", *command], folder, env or {})
    return _read(folder / "oracle.json", status, output)


def pytest_cov(app: Path, folder: Path, env: Mapping[str, str] | None = None, *args: str) -> Ran:
    """Run ``python -m pytest`` as a team that uses pytest-cov does, with its report as JSON beside others."""
    return serial(app, folder, ["pytest", *args, "--cov-report=json:oracle.json"], env)


def coverage_run(app: Path, folder: Path, env: Mapping[str, str] | None = None) -> Ran:
    """Run ``coverage run -m pytest`` and ``coverage report``, whose exit status knows fail_under."""
    ran = serial(app, folder, ["coverage", "run", "-m", "pytest"], env)
    assert ran.status == 0, ran.output
    _run([sys.executable, "-m", "coverage", "json", "-o", "oracle.json", "--fail-under=0"], folder, env or {})
    status, output = _run([sys.executable, "-m", "coverage", "report"], folder, env or {})
    return _read(folder / "oracle.json", status, output)


def covfleet(app: Path, shards: int, env: Mapping[str, str] | None = None, *args: str) -> Ran:
    """Run covfleet in the project itself."""
    words = [sys.executable, "-P", "-m", "covfleet", "run", "--shards", f"{shards}", *args]
    status, output = _run(words, app, env or {})
    return _read(app / ".covfleet" / "reports" / "coverage.json", status, output)


def command(app: Path, *words: str) -> Ran:
    """Run another command of covfleet."""
    return Ran(*_run([sys.executable, "-P", "-m", "covfleet", *words], app, {}))


def contexts(data_file: Path) -> set[str]:
    """Return the contexts of a data file that hold something."""
    data = CoverageData(str(data_file))
    data.read()
    return data.measured_contexts()


def _run(words: Sequence[str], folder: Path, env: Mapping[str, str]) -> tuple[int, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    ran = subprocess.run(
        words, cwd=folder, env={**kept, **env}, capture_output=True, text=True, check=False, timeout=120
    )
    return ran.returncode, ran.stdout + ran.stderr


def _read(report: Path, status: int, output: str) -> Ran:
    if not report.exists():
        return Ran(status, output)
    said = json.loads(report.read_bytes())
    return Ran(status, output, said["files"], said["totals"])
