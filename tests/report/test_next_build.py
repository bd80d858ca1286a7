"""What a branch's next build takes over from its last one, and what it does without."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from covfleet.errors import StoreError
from covfleet.model import ReportManifest, Verdict
from covfleet.report.stage import ReportFolders, report_build
from covfleet.store.build import StoredBuild
from covfleet.store.encoding import from_json
from covfleet.store.keys import BuildKeys, report_cache, reported
from support.combined import KEYS, combined_build, next_build
from support.stock_bytes import contents
from support.troubled_store import TroubledStore


@dataclass
class Machines:
    """Makes reports, each time on another machine unless one is named; remembers what was told."""

    store: TroubledStore
    folder: Path
    told: list[str] = field(default_factory=list)
    number: int = 0

    def report(self, keys: BuildKeys, machine: str = "") -> Path:
        """Return the folder of reports. They must be those of the first build, stamps and build aside."""
        self.number += 1
        out = self.folder / f"out-{self.number}"
        cache = self.folder / (machine or f"machine-{self.number}")
        places = ReportFolders(self.folder, out, cache)
        report_build(StoredBuild(self.store, keys), places, workers=2, narrate=self.told.append)
        manifest = from_json(ReportManifest, self.store.get(keys.manifest).data, name="manifest")
        for file in manifest.files:
            data = self.store.get(keys.report(file.path)).data
            assert hashlib.sha256(data).hexdigest() == file.sha256
            assert data == (out / file.path).read_bytes()
        return out


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    """With the first build reported."""
    machines = Machines(combined_build(tmp_path), tmp_path)
    machines.report(KEYS, "first")
    assert machines.told == []
    machines.store.writes.clear()
    return machines


def pages(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "html").glob("z_*.html")}


def coverage_s_own(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(out).items() if name.startswith(("html/", "coverage."))}


def is_same_as_first(machines: Machines, out: Path) -> bool:
    return coverage_s_own(out) == coverage_s_own(machines.folder / "out-1")


def copied(machines: Machines, keys: BuildKeys) -> set[str]:
    return {key.removeprefix(keys.reports) for key in machines.store.copies if key.startswith(keys.reports)}


@pytest.mark.parametrize("machine", ["first", "fresh"])
def test_unchanged_pages_are_taken_over_and_copied_within_the_store(machines: Machines, machine: str) -> None:
    keys = next_build(machines.store, "b2")
    out = machines.report(keys, machine)
    assert pages(out) == pages(machines.folder / "out-1")
    assert {f"html/{name}" for name in pages(out)} < copied(machines, keys)
    assert machines.told == []


def test_a_cache_that_did_not_change_is_not_sent_again(machines: Machines) -> None:
    machines.report(next_build(machines.store, "b2"), "first")
    assert report_cache("main") not in machines.store.writes
    assert machines.store.writes[-1] == reported("main")


def test_a_new_branch_begins_with_what_the_default_branch_has(machines: Machines) -> None:
    keys = next_build(machines.store, "b2", branch="feature/x")
    out = machines.report(keys)
    assert pages(out) == pages(machines.folder / "out-1")
    assert copied(machines, keys)
    assert {report_cache("feature/x"), reported("feature/x")} <= set(machines.store.writes)
    assert reported("main") not in machines.store.writes


def test_another_branch_than_the_default_one_is_not_used_for_it(machines: Machines) -> None:
    for key in (reported("main"), report_cache("main")):
        (machines.store.root / key).unlink()
    machines.report(next_build(machines.store, "b2", branch="feature/x"))
    machines.store.copies.clear()
    machines.report(next_build(machines.store, "b3"))
    assert machines.store.copies == {}


@pytest.mark.parametrize("verdict", ["partial", "conflicting"])
def test_a_build_that_is_not_whole_leaves_nothing(machines: Machines, verdict: Verdict) -> None:
    machines.report(next_build(machines.store, "b2", verdict=verdict))
    assert not {report_cache("main"), reported("main")} & set(machines.store.writes)


def test_a_damaged_report_is_not_copied_on(machines: Machines) -> None:
    name = next(path for path in (machines.folder / "out-1/html").glob("z_*prices*.html")).name
    damaged = machines.store.root / KEYS.report(f"html/{name}")
    damaged.write_bytes(damaged.read_bytes().replace(b"net", b"ten"))
    keys = next_build(machines.store, "b2")
    machines.report(keys)
    assert f"html/{name}" not in copied(machines, keys)
    assert copied(machines, keys)


def test_a_report_that_is_gone_is_sent(machines: Machines) -> None:
    name = next(path for path in (machines.folder / "out-1/html").glob("z_*prices*.html")).name
    (machines.store.root / KEYS.report(f"html/{name}")).unlink()
    machines.report(next_build(machines.store, "b2"))


def test_a_store_that_cannot_copy_costs_uploads_and_is_told_once(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refused(_store: object, source: str, _key: str, **_options: object) -> None:
        asked.append(source)
        raise StoreError("no copies here")

    monkeypatch.setattr(TroubledStore, "copy", refused)
    machines.report(next_build(machines.store, "b2"))
    assert len(asked) <= 2  # as many as upload at once
    assert machines.told == ["all reports were uploaded, as the store can't copy them: no copies here"]


@pytest.mark.parametrize(
    "note", [b"{", b'{"commit": "../../x", "build": "b1", "cache_sha256": "", "version": 1}', b"\xff"]
)
def test_a_damaged_note_of_the_last_build_is_told(machines: Machines, note: bytes) -> None:
    machines.store.put(reported("main"), note)
    out = machines.report(next_build(machines.store, "b2"))
    assert is_same_as_first(machines, out)
    assert len(machines.told) == 1
    machines.report(next_build(machines.store, "b3"))
    assert len(machines.told) == 1  # it was replaced


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:1000], lambda data: data[:-1000]])
def test_a_damaged_cache_in_the_store_changes_no_byte(
    machines: Machines, damage: Callable[[bytes], bytes]
) -> None:
    machines.store.put(report_cache("main"), damage(machines.store.get(report_cache("main")).data))
    assert is_same_as_first(machines, machines.report(next_build(machines.store, "b2")))
    machines.told.clear()
    out = machines.report(next_build(machines.store, "b3"))
    assert pages(out) == pages(machines.folder / "out-2")
    assert machines.told == []


def test_a_cache_that_is_gone_is_made_anew(machines: Machines) -> None:
    (machines.store.root / report_cache("main")).unlink()
    assert is_same_as_first(machines, machines.report(next_build(machines.store, "b2")))
    assert report_cache("main") in machines.store.writes


@pytest.mark.parametrize("key", [report_cache("main"), reported("main")])
def test_a_cache_that_cannot_be_kept_costs_no_build(machines: Machines, key: str) -> None:
    def breaks(written: str) -> None:
        if written == key:
            raise StoreError("connection lost")

    machines.store.before_write = breaks
    machines.report(next_build(machines.store, "b2"))
    assert machines.told == [
        "the next reports will take longer, as this cache can't be kept: connection lost"
    ]


def test_a_machine_that_can_keep_nothing_still_leaves_its_cache_in_the_store(machines: Machines) -> None:
    (machines.folder / "in the way").write_text("a file")
    machines.report(next_build(machines.store, "b2", branch="feature/x"), "in the way")
    assert report_cache("feature/x") in machines.store.writes
    assert len(machines.told) == 1
    assert "can't be kept" in machines.told[0]


def test_a_machine_keeps_its_cache_though_the_store_fails(machines: Machines) -> None:
    def breaks(key: str) -> None:
        if key == report_cache("feature/x"):
            raise StoreError("connection lost")

    machines.store.before_write = breaks
    machines.report(next_build(machines.store, "b2", branch="feature/x"), "another")
    assert (machines.folder / "another/reports").is_file()
