"""Small projects under git, run by covfleet and by their team's own command: stock tools, one process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.processes import covfleet, without_settings
from support.runs import write_project

SHOP = "def add(a, b):\n    if a > 100:\n        return -1\n    return a + b\n"
PYTEST = '[tool.pytest.ini_options]\ntestpaths = ["tests"]\npythonpath = ["."]\n'
COVFLEET = "[tool.covfleet]\nbatch_s = 0.01\n"


@dataclass(frozen=True)
class Figures:
    """What a report says: each file's lines that ran and that didn't."""

    files: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    total: Mapping[str, Any]

    @classmethod
    def read(cls, report: Path) -> Figures:
        data = json.loads(report.read_text("utf-8"))
        files = {
            path: (tuple(file["executed_lines"]), tuple(file["missing_lines"]))
            for path, file in data["files"].items()
        }
        return cls(files, {name: data["totals"][name] for name in ("covered_lines", "num_statements")})


def app(root: Path, settings: str, files: Mapping[str, str] | None = None, **ignored: str) -> Path:
    """Write the base project, four tests of a package ``shop``, and commit it.

    Args:
        root: a folder that doesn't exist yet.
        settings: what pyproject.toml holds beside covfleet's own table.
        files: further files; an empty text removes one of the base's.
        ignored: patterns for .gitignore, by any name.
    """
    base = {f"tests/test_{n}.py": _test(n) for n in range(1, 5)} | {"shop/__init__.py": SHOP}
    chosen = {name: text for name, text in {**base, **(files or {})}.items() if text}
    chosen |= {"pyproject.toml": f"{settings}\n{COVFLEET}"}
    chosen[".gitignore"] = "\n".join([*ignored.values(), "__pycache__", ".coverage", ""])
    write_project(root, chosen)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=root, check=True, capture_output=True)
    return root


def _test(number: int) -> str:
    return f"from shop import add\n\n\ndef test_{number}():\n    assert add({number}, 1) == {number} + 1\n"


def stock(root: Path, folder: Path) -> Figures:
    """Run the tests once with stock coverage.py, and return what ``coverage json`` says."""
    environ = without_settings() | {"COVERAGE_FILE": str(folder / ".coverage")}
    report = folder / "stock.json"
    for arguments in (
        ["run", "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        ["json", "-q", "-o", str(report)],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "coverage", *arguments],
            cwd=root,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return Figures.read(report)


def run(root: Path, shards: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``covfleet run`` with worker processes."""
    return covfleet(root, "run", "--shards", str(shards), *arguments)


def reports(root: Path) -> Path:
    """Return the folder of the last run's reports."""
    return root / ".covfleet" / "reports"


def ledger(root: Path) -> dict[str, Any]:
    """Return the last build's ledger, as it lies in the store."""
    found = max((root / ".covfleet" / "store").rglob("ledger.json"), key=lambda path: path.stat().st_mtime)
    return dict(json.loads(found.read_text("utf-8")))
