"""A build in a store, as planning and shards would have left it, for tests of the stages behind them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from covfleet.combine.verify import data_file
from covfleet.model import (
    Batch,
    BatchResult,
    DataFile,
    Environment,
    Measurement,
    Plan,
    SourceFile,
    TestOutcome,
)
from covfleet.ports.object_store import ObjectStore
from covfleet.store.encoding import to_json
from covfleet.store.keys import BuildKeys
from covfleet.store.sources import manifest, pack

COMMIT = "c0ffee"
BUILD = "7"
KEYS = BuildKeys(COMMIT, BUILD)


def make_plan(
    batches: Mapping[str, Sequence[str]],
    sources: Sequence[SourceFile] = (),
    *,
    shards: int = 2,
    branch: bool = False,
    **changes: Any,
) -> Plan:
    """Return a plan of these batches, dealt round-robin."""
    ids = list(batches)
    plan = Plan(
        commit=COMMIT,
        build=BUILD,
        branch="main",
        created_at="2026-01-02T03:04:05+00:00",
        executor="process",
        image="",
        environment=Environment("3.12.1", "8.4.0", "7.17.3"),
        measurement=Measurement(branch=branch, contexts=False, core="ctrace"),
        pytest_args=(),
        sources=tuple(sources),
        batches=tuple(Batch(name, tuple(tests), 1.0) for name, tests in batches.items()),
        deals=tuple(tuple(ids[shard::shards]) for shard in range(shards)),
    )
    return dataclasses.replace(plan, **changes)


def make_result(
    plan: Plan, batch: str, files: Sequence[DataFile] = (), *, shard: int = 1, **changes: Any
) -> BatchResult:
    """Return a result in which every test of the batch passed."""
    tests = next((item.tests for item in plan.batches if item.id == batch), ())
    result = BatchResult(
        commit=plan.commit,
        build=plan.build,
        batch=batch,
        shard=shard,
        token=f"token-{shard}",
        duration_s=2.0,
        core="ctrace",
        outcomes=tuple(TestOutcome(test, "passed", 0.5) for test in tests),
        data_files=tuple(files),
    )
    return dataclasses.replace(result, **changes)


@dataclass
class HandmadeBuild:
    """Puts a build into a store, piece by piece."""

    store: ObjectStore
    project: Path
    plan: Plan
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    def planned(
        cls,
        store: ObjectStore,
        project: Path,
        batches: Mapping[str, Sequence[str]],
        files: Mapping[str, str],
        **changes: Any,
    ) -> HandmadeBuild:
        """Write the project's files, pack them, and store them with a plan."""
        for name, text in files.items():
            path = project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        plan = make_plan(batches, manifest(project, files), **changes)
        archive = project.with_suffix(".tar.zst")
        pack(project, plan.sources, archive)
        keys = BuildKeys(plan.commit, plan.build)
        store.upload(archive, keys.sources)
        store.put(keys.plan, to_json(plan))
        return cls(store, project, plan)

    @property
    def keys(self) -> BuildKeys:
        """The build's keys."""
        return BuildKeys(self.plan.commit, self.plan.build)

    def upload(self, path: Path) -> DataFile:
        """Store a data file under a name as workers give it."""
        name = f".coverage.host.pid1.X{next(self._numbers):06}x.H0123456789h"
        self.store.upload(path, self.keys.of_commit.data_file(name))
        return data_file(path, name)

    def give(self, batch: str, *paths: Path, **changes: Any) -> BatchResult:
        """Store a batch's data files and then its result."""
        result = make_result(self.plan, batch, [self.upload(path) for path in paths], **changes)
        self.store.put(self.keys.result(batch), to_json(result))
        return result
