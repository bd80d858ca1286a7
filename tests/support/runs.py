"""Small projects, planned and run for real: worker processes, and a folder as the store."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
from dataclasses import dataclass, field
from pathlib import Path

from coverage import CoverageData
from covfleet.adapters.clock import SystemClock
from covfleet.adapters.folder.store import LocalStore
from covfleet.adapters.processes.launchers import WORKER
from covfleet.adapters.processes.worker import ProcessLauncher, tests_environment
from covfleet.combine.build import Combined, combine_build
from covfleet.model import BatchResult, Checkout, Heartbeat, Plan, TestOutcome
from covfleet.plan.request import PlanRequest
from covfleet.plan.stage import plan_build
from covfleet.ports.worker import WorkerLauncher
from covfleet.settings.schema import Settings
from covfleet.shard.agent import run_shard
from covfleet.shard.request import ShardRequest
from covfleet.store.build import StoredBuild
from covfleet.store.encoding import from_json
from covfleet.store.keys import BuildKeys, CommitKeys

QUICK = {"lease_s": 1.0, "heartbeat_s": 0.2, "checkpoint_s": 0.05}
"""Settings that let a test see a lease run out without waiting for long."""


def write_project(root: Path, files: dict[str, str]) -> Path:
    """Write files (dedented) below ``root`` and return it."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


@dataclass
class Build:
    """One build of a project: plan it, run shards of it, combine it."""

    project: Path
    store: LocalStore
    settings: Settings
    keys: BuildKeys = field(default_factory=lambda: CommitKeys("c0ffee").build("b1"))
    launcher: WorkerLauncher | None = None
    said: list[str] = field(default_factory=list)
    python: str = sys.executable

    def __post_init__(self) -> None:
        if self.launcher is None:
            environment = tests_environment(os.environ, self.settings.env)
            self.launcher = ProcessLauncher(self.python, self.project, environment, WORKER)

    def checkout(self) -> Checkout:
        files = sorted(
            path.relative_to(self.project).as_posix()
            for path in self.project.rglob("*")
            if path.is_file() and not {".covfleet", "__pycache__"} & set(path.parts)
        )
        return Checkout(str(self.project), self.keys.commit, "main", tuple(files))

    def plan(self) -> Plan:
        assert self.launcher is not None
        return plan_build(
            PlanRequest(
                StoredBuild(self.store, self.keys),
                self.checkout(),
                self.launcher,
                self.settings,
                None,
                SystemClock(),
                self.said.append,
            )
        )

    def request(self, plan: Plan, shard: int, stop: threading.Event | None = None) -> ShardRequest:
        assert self.launcher is not None
        return ShardRequest(
            build=StoredBuild(self.store, self.keys),
            plan=plan,
            shard=shard,
            launcher=self.launcher,
            settings=self.settings,
            clock=SystemClock(),
            stop=stop or threading.Event(),
            narrate=self.said.append,
            workdir=self.project / ".covfleet" / "work",
        )

    def run_shard(self, plan: Plan, shard: int = 1, stop: threading.Event | None = None) -> Heartbeat:
        return run_shard(self.request(plan, shard, stop))

    def results(self) -> dict[str, BatchResult]:
        found = [
            from_json(BatchResult, self.store.get(info.key).data, name=info.key)
            for info in self.store.list(self.keys.results)
        ]
        return {result.batch: result for result in found}

    def outcomes(self) -> dict[str, TestOutcome]:
        return {outcome.id: outcome for result in self.results().values() for outcome in result.outcomes}

    def notes(self) -> list[str]:
        return [note for result in self.results().values() for note in result.notes]

    def combine(self, *, allow_partial: bool = False) -> Combined:
        return combine_build(
            StoredBuild(self.store, self.keys),
            self.project / ".covfleet" / "combine",
            allow_partial=allow_partial,
            workers=4,
        )


def new_build(project: Path, **settings: object) -> Build:
    """Return a build of the project, with a store beside the project's files."""
    return Build(project, LocalStore(project / ".covfleet" / "store"), Settings(**{**QUICK, **settings}))


def lines_of(data_file: Path) -> dict[str, list[int]]:
    """Return the lines that a data file says were executed."""
    data = CoverageData(str(data_file))
    data.read()
    return {name: sorted(data.lines(name) or []) for name in sorted(data.measured_files())}
