"""A project's whole build by some shards, each a thread with worker processes of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from covfleet.combine.build import Combined
from covfleet.model import Plan, TestOutcome

from support.runs import Build, lines_of, new_build

SHOP = {
    "shop/__init__.py": """
        def add(a, b):
            if a > 100:
                return -1
            return a + b
    """,
    **{
        f"tests/test_{n}.py": f"from shop import add\n\ndef test_add():\n    assert add({n}, 1) == {n + 1}\n"
        for n in range(1, 5)
    },
    "pyproject.toml": """
        [tool.pytest.ini_options]
        testpaths = ["tests"]
        pythonpath = ["."]
        [tool.coverage.run]
        source = ["shop"]
    """,
}
"""Four files with a test each that passes; they execute 3 of 4 statements."""

SHOP_LINES = {"shop/__init__.py": [2, 3, 5]}


@dataclass(frozen=True)
class Fleet:
    """A build that has run."""

    build: Build
    plan: Plan
    combined: Combined

    @property
    def outcomes(self) -> dict[str, TestOutcome]:
        return self.build.outcomes()

    @property
    def verdicts(self) -> dict[str, str]:
        return {test: outcome.outcome for test, outcome in sorted(self.outcomes.items())}

    @property
    def lines(self) -> dict[str, list[int]]:
        return lines_of(self.combined.data_file)

    @property
    def said(self) -> str:
        return "\n".join((*self.build.said, *self.build.notes()))


def run_fleet(project: Path, shards: int, **settings: object) -> Fleet:
    """Plan a new build of the project, run its shards side by side, and combine."""
    shutil.rmtree(project / ".covfleet", ignore_errors=True)
    build = new_build(project, shards=shards, batch_s=0.01, **settings)
    plan = build.plan()
    with ThreadPoolExecutor(shards) as pool:
        list(pool.map(lambda shard: build.run_shard(plan, shard), range(1, shards + 1)))
    return Fleet(build, plan, build.combine())


def stock(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the project's tests as its team does: ``python -m pytest``."""
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
