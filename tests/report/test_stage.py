"""report_build: from what the store holds of a build to its reports; refuses data that isn't the ledger's."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from covfleet.errors import IncompleteDataError, StoreError
from covfleet.gate.stage import gate_build
from covfleet.model import Ledger, ReportManifest, Totals
from covfleet.report.stage import ReportFolders, report_build
from covfleet.settings.schema import GateSettings
from covfleet.store.build import StoredBuild
from covfleet.store.encoding import from_json, to_json
from covfleet.store.keys import BuildKeys, report_cache, reported
from support.combined import combined_build
from support.troubled_store import TroubledStore

KEYS = BuildKeys("c1", "b1")


@pytest.fixture
def store(tmp_path: Path) -> TroubledStore:
    return combined_build(tmp_path)


def report(store: TroubledStore, places: ReportFolders) -> tuple[Totals, Ledger]:
    return report_build(StoredBuild(store, KEYS), places, workers=1, narrate=print)


def stored_ledger(store: TroubledStore) -> Ledger:
    return from_json(Ledger, store.get(KEYS.ledger).data, name="ledger")


def test_a_build_that_is_not_combined_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncompleteDataError, match="isn't combined") as caught:
        report_build(
            StoredBuild(TroubledStore(tmp_path / "store"), KEYS),
            ReportFolders(tmp_path, tmp_path / "out"),
            workers=2,
            narrate=print,
        )
    assert caught.value.hint == "Run `covfleet combine --commit c1 --build b1` first."


def test_a_ledger_without_combined_data_is_refused(store: TroubledStore, tmp_path: Path) -> None:
    store.put(KEYS.ledger, to_json(replace(stored_ledger(store), combined=None, verdict="conflicting")))
    with pytest.raises(IncompleteDataError, match="has no combined data"):
        report(store, ReportFolders(tmp_path, tmp_path / "out"))


def test_data_that_the_ledger_does_not_describe_is_refused(store: TroubledStore, tmp_path: Path) -> None:
    flipped = bytearray(store.get(KEYS.combined).data)
    flipped[5000] ^= 1
    store.put(KEYS.combined, bytes(flipped))
    with pytest.raises(IncompleteDataError, match="doesn't match the ledger") as caught:
        report(store, ReportFolders(tmp_path, tmp_path / "out"))
    assert caught.value.exit_code == 5
    assert not (tmp_path / "out").exists()


def test_an_interrupted_upload_leaves_no_manifest_and_again_completes_it(
    store: TroubledStore, tmp_path: Path
) -> None:
    def breaks(key: str) -> None:
        if key.endswith("coverage.xml"):
            raise StoreError("connection lost")

    store.before_write = breaks
    with pytest.raises(StoreError, match="connection lost"):
        report(store, ReportFolders(tmp_path, tmp_path / "out"))
    assert KEYS.manifest not in store.objects
    store.before_write = lambda key: None
    report(store, ReportFolders(tmp_path, tmp_path / "out"))
    assert KEYS.manifest in store.objects


def test_the_reports_and_their_manifest_are_stored_with_content_types(
    store: TroubledStore, tmp_path: Path
) -> None:
    totals, ledger = report(store, ReportFolders(tmp_path, tmp_path / "out"))
    assert ledger == stored_ledger(store)
    described = from_json(ReportManifest, store.get(KEYS.manifest).data, name="manifest")
    assert (described.totals, described.data_sha256) == (totals, ledger.combined and ledger.combined.sha256)
    assert described.created_at == "2025-11-22T12:00:00+00:00"
    for file in described.files:
        data = store.get(KEYS.report(file.path)).data
        assert data == (tmp_path / "out" / file.path).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size_bytes, file.sha256)
    assert store.headers[KEYS.report("html/index.html")][0] == "text/html; charset=utf-8"
    assert store.headers[KEYS.report("coverage.xml")][0] == "application/xml"
    assert store.writes[-3:] == [KEYS.manifest, report_cache("main"), reported("main")]
    assert not any(key.endswith(".gitignore") for key in store.objects)
    assert gate_build(StoredBuild(store, KEYS), GateSettings(total=50)) != ()  # type: ignore[arg-type]


def test_outcomes_come_in_the_order_of_the_plan_with_contexts_and_notes(
    store: TroubledStore, tmp_path: Path
) -> None:
    report(store, ReportFolders(tmp_path, tmp_path / "out"))
    cases = ET.parse(tmp_path / "out/junit.xml").getroot()[0]
    assert [case.get("name") for case in cases] == ["test_tiers", "test_net"]
    assert "test_net" in next((tmp_path / "out/html").glob("*prices_py.html")).read_text()
    assert "Python 2.7" in (tmp_path / "out/summary.md").read_text()


def test_nothing_is_left_in_the_working_folder(store: TroubledStore, tmp_path: Path) -> None:
    workdir = tmp_path / "work"
    workdir.mkdir()
    report(store, ReportFolders(workdir, tmp_path / "out"))
    assert list(workdir.iterdir()) == []


def test_a_build_without_a_plan_is_reported_from_the_checkout(store: TroubledStore, tmp_path: Path) -> None:
    store.put(KEYS.ledger, to_json(replace(stored_ledger(store), verdict="unverified")))
    (store.root / KEYS.plan).unlink()
    with pytest.raises(IncompleteDataError, match="no plan"):
        report(store, ReportFolders(tmp_path, tmp_path / "out"))
    checkout = tmp_path / "measured" / "project"
    totals, _ = report_build(
        StoredBuild(store, KEYS),
        ReportFolders(tmp_path, tmp_path / "out", source_dir=checkout),
        workers=2,
        narrate=print,
    )
    assert totals.measures_branches
    assert "UNVERIFIED" in (tmp_path / "out/summary.md").read_text()
