"""A store with builds that are combined and wait for their reports."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from covfleet.model import (
    Batch,
    BatchResult,
    DataFile,
    Environment,
    Ledger,
    Measurement,
    Plan,
    TestOutcome,
    Verdict,
)
from covfleet.store.encoding import from_json, to_json
from covfleet.store.keys import BuildKeys
from covfleet.store.sources import manifest, pack

from support.measured import measure
from support.troubled_store import TroubledStore

KEYS = BuildKeys("c1", "b1")


def combined_build(tmp_path: Path) -> TroubledStore:
    """Return a store with a combined build of two batches, the second of which was stored first."""
    measured = measure(tmp_path / "measured", branch=True, contexts=True)
    root = measured.source_dir
    sources = manifest(
        root, [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    )
    data = measured.data_file.read_bytes()
    described = DataFile(".coverage", len(data), hashlib.sha256(data).hexdigest())
    batches = (Batch("zz", ("suite.py::test_tiers",), 2.0), Batch("aa", ("suite.py::test_net",), 1.0))
    store = TroubledStore(tmp_path / "store")
    plan = Plan(
        commit="c1",
        build="b1",
        branch="main",
        created_at="2025-11-22T12:00:00+00:00",
        executor="process",
        image="",
        environment=Environment(python="2.7.18", pytest="8", coverage="7"),
        measurement=Measurement(branch=True, contexts=True, core="ctrace"),
        pytest_args=(),
        sources=sources,
        batches=batches,
        deals=(("zz", "aa"),),
    )
    store.put(KEYS.plan, to_json(plan))
    for batch in batches:
        outcome = TestOutcome(batch.tests[0], "passed", 0.1)
        result = BatchResult("c1", "b1", batch.id, 1, "t", 0.2, "ctrace", (outcome,), ())
        store.put(KEYS.result(batch.id), to_json(result))
    ledger = Ledger("c1", "b1", "main", "complete", 2, {"passed": 2}, combined=described)
    store.put(KEYS.ledger, to_json(ledger))
    store.put(KEYS.combined, data)
    pack(root, sources, tmp_path / "sources.tar.zst")
    store.upload(tmp_path / "sources.tar.zst", KEYS.sources)
    return store


def next_build(
    store: TroubledStore, build: str, *, branch: str = "main", verdict: Verdict = "complete"
) -> BuildKeys:
    """Add another build of the same commit, with the same results and data."""
    keys = BuildKeys(KEYS.commit, build)
    plan = from_json(Plan, store.get(KEYS.plan).data, name="plan")
    store.put(keys.plan, to_json(replace(plan, build=build, branch=branch)))
    ledger = from_json(Ledger, store.get(KEYS.ledger).data, name="ledger")
    store.put(keys.ledger, to_json(replace(ledger, build=build, branch=branch, verdict=verdict)))
    for batch in plan.batches:
        store.put(keys.result(batch.id), store.get(KEYS.result(batch.id)).data)
    for source, target in ((KEYS.combined, keys.combined), (KEYS.sources, keys.sources)):
        store.put(target, store.get(source).data)
    return keys
