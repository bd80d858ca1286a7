"""Small projects in repositories of their own, and jobs that build them as the rendered Jenkinsfile says."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from covfleet.adapters.folder.store import LocalStore
from covfleet.jenkins.render import jenkinsfile
from covfleet.model import Ledger, Plan
from covfleet.settings.load import load_settings
from covfleet.store.build import StoredBuild
from covfleet.store.commit import StoredCommit
from covfleet.store.keys import CommitKeys

from support.jenkinsfiles import Ended, Job, commit_all
from support.runs import lines_of, write_project

APP = """
    def half(number):
        if number % 2:
            return None
        return number // 2
    """
TESTS = {
    "tests/test_even.py": "from app import half\n\ndef test_even():\n    assert half(4) == 2\n",
    "tests/test_odd.py": "from app import half\n\ndef test_odd():\n    assert half(3) is None\n",
}
ALL_LINES = {"app/__init__.py": [2, 3, 4, 5]}
"""What the tests execute."""


def settings_table(**tables: dict[str, object]) -> str:
    """Return ``[tool.covfleet…]`` tables as TOML: keywords are their names, ``covfleet`` is the top one."""
    lines = []
    for name, values in tables.items():
        lines.append("[tool.covfleet]" if name == "covfleet" else f"[tool.covfleet.{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines)


class SmallProject:
    """A small project in a repository of its own, its store beside it, and a job that builds it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repository"
        self.store = LocalStore(folder / "store")
        self.job = Job(folder / "jenkins", self.root)
        self.folder = folder

    def write(self, files: dict[str, str] | None = None, **tables: dict[str, object]) -> str:
        """Write and commit it; return the commit."""
        top = {"store": str(self.folder / "store"), "shards": 2, "lease_s": 2.0, "heartbeat_s": 0.5}
        tables["covfleet"] = top | tables.get("covfleet", {})
        settings = "[tool.coverage.run]\nsource = ['app']\n[tool.pytest.ini_options]\npythonpath = ['.']\n"
        whole = {"pyproject.toml": settings + settings_table(**tables), "app/__init__.py": APP}
        write_project(self.root, whole | (TESTS if files is None else files))
        return commit_all(self.root)

    def jenkinsfile(self) -> str:
        return jenkinsfile(load_settings(self.root, {}, {}), self.root)

    def build(self, **parameters: str | bool) -> Ended:
        return self.job.build(self.jenkinsfile(), **parameters)

    def ledger(self, commit: str) -> Ledger:
        return self.newest(commit).ledger()

    def plan(self, commit: str) -> Plan:
        return self.newest(commit).plan()

    def newest(self, commit: str) -> StoredBuild:
        build = StoredCommit(self.store, CommitKeys(commit)).newest()
        assert build is not None
        return build

    def lines(self, commit: str) -> dict[str, list[int]]:
        path = self.folder / "combined"
        self.store.download(CommitKeys(commit).combined, path)
        return lines_of(path)

    def before_covfleet(self, script: str) -> dict[str, object]:
        """Return settings by which agents run some shell commands each time before covfleet itself."""
        program = self.folder / "instead-of-covfleet"
        program.write_text(f'#!/bin/sh\n{textwrap.dedent(script)}\nexec covfleet "$@"\n')
        program.chmod(0o755)
        return {"covfleet": str(program)}
