"""The combiner by hand when all is well: which build it takes, what it does, and that twice is once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from covfleet import cli
from support.datafiles import write_data
from support.dataset_equal import api_view
from support.left_builds import COMMIT, Covfleet, Place, Shards, content, folder_place, s3_place
from support.mounts import tmpfs
from support.seaweed import Seaweed


def test_the_newest_complete_build_is_taken(covfleet: Covfleet, shards: Shards) -> None:
    shards.finish(shards.plan("b", hour=3))
    shards.finish(shards.plan("a", hour=4))
    shards.finish(shards.plan("c", hour=5), "1")
    said = covfleet("recombine", COMMIT)
    assert said.code == 0, said.err
    assert said.out.startswith(f"build      a of commit {COMMIT}\n")
    lines = said.err.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["c", "*", "b"]
    assert "1 of 2 batches, not combined" in lines[1]
    assert lines[4] == "using build a, the newest complete one"


def test_any_build_can_be_asked_for(covfleet: Covfleet, shards: Shards) -> None:
    shards.finish(shards.plan("17", hour=3))
    shards.finish(shards.plan("18", hour=4))
    assert "build      17 of" in covfleet("recombine", COMMIT, "--build", "17").out


def test_what_there_is_can_be_taken_and_is_marked(covfleet: Covfleet, shards: Shards) -> None:
    shards.finish(shards.plan("17"), "1")
    said = covfleet("recombine", COMMIT, "--allow-partial", "--json")
    assert said.code == 0, said.err
    assert "as none is complete" in said.err
    assert json.loads(said.out)["verdict"] == "partial"
    assert "combined: partial" in covfleet("builds", COMMIT).out


def test_without_a_checkout_it_combines_reports_and_publishes_and_a_second_time_changes_nothing(
    covfleet: Covfleet, place: Place, shards: Shards, anywhere: Path, tmp_path: Path
) -> None:
    build = shards.finish(shards.plan("17"))
    site = folder_place(tmp_path / "site")
    first = covfleet("recombine", COMMIT, "--site", site.flags[1])
    assert first.code == 0, first.err
    for line in ("combined   2 data files, complete\n", "reported   ", "published  "):
        assert line in first.out
    assert "; unchanged" not in first.out
    assert place.store.get(build.keys.report("html/index.html")).data
    assert "main/17/coverage.json" in content(site.store)
    before, published = content(place.store), content(site.store)

    second = covfleet("recombine", COMMIT, "--site", site.flags[1])
    assert second.code == 0, second.err
    assert second.out.count("; unchanged") == 2
    assert content(place.store) == before
    assert content(site.store) == published
    assert list(anywhere.iterdir()) == []


def test_reports_that_were_half_uploaded_are_made_again(
    covfleet: Covfleet, place: Place, shards: Shards
) -> None:
    build = shards.finish(shards.plan("17"))
    covfleet("recombine", COMMIT)
    place.store.put(build.keys.report("coverage.xml"), b"<half")
    said = covfleet("recombine", COMMIT)
    assert said.out.count("; unchanged") == 1
    assert place.store.get(build.keys.report("coverage.xml")).data.startswith(b"<?xml")


def test_the_results_can_go_into_a_folder_and_leave_the_store_alone(
    covfleet: Covfleet, place: Place, shards: Shards, tmp_path: Path
) -> None:
    shards.finish(shards.plan("17"))
    before, output = content(place.store), tmp_path / "output"
    for _ in range(2):
        said = covfleet("recombine", COMMIT, "--output", str(output))
        assert said.code == 0, said.err
        assert "store      unchanged" in said.out
        assert content(place.store) == before
    expected = write_data(tmp_path / "expected", {"": {"app/a.py": [1, 2]}}, touched=["app/a.py"])
    assert api_view(output / ".coverage") == api_view(expected)
    assert json.loads((output / "ledger.json").read_text())["verdict"] == "complete"
    assert (output / "reports" / "html" / "index.html").exists()


@pytest.mark.s3
def test_credentials_that_may_only_read_are_told_at_once_and_give_results_in_a_folder(
    seaweed: Seaweed,
    s3_url: str,
    anywhere: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = s3_place(s3_url, seaweed)
    shards = Shards(place.store, tmp_path)
    shards.finish(shards.plan("17"))
    before = content(place.store)
    for name, value in seaweed.reader().items():
        monkeypatch.setenv(name, value)
    assert cli.status(["recombine", COMMIT, *place.flags]) == 6
    said = capsys.readouterr().err
    assert "s3:PutObject" in said
    assert "--output DIR" in said
    output, site = tmp_path / "output", tmp_path / "site"
    assert cli.status(["recombine", COMMIT, *place.flags, "--output", str(output), "--site", str(site)]) == 0
    assert (output / "reports" / "coverage.xml").exists()
    assert (site / "main" / "17" / "html" / "index.html").exists()
    assert cli.status(["builds", COMMIT, *place.flags]) == 0
    assert content(place.store) == before


def test_a_folder_that_may_only_be_read_is_told_at_once_and_gives_results_in_another(
    anywhere: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, disk = folder_place(tmp_path), tmp_path / "store"
    disk.mkdir()
    shards = Shards(place.store, tmp_path)
    with tmpfs(disk, "size=16m"):
        shards.finish(shards.plan("17"))
        remount(disk, "ro")
        assert cli.status(["recombine", COMMIT, *place.flags]) == 6
        said = capsys.readouterr().err
        assert "The file system is read-only" in said
        assert "--output DIR" in said
        assert cli.status(["recombine", COMMIT, *place.flags, "--output", str(tmp_path / "output")]) == 0
    assert (tmp_path / "output" / "reports" / "coverage.xml").exists()


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True, timeout=10)


def test_builds_as_json_say_how_far_each_is(covfleet: Covfleet, shards: Shards) -> None:
    shards.finish(shards.plan("17"), "2")
    said = json.loads(covfleet("builds", COMMIT, "--json").out)
    assert (said["version"], said["commit"]) == (1, COMMIT)
    [build] = said["builds"]
    assert build == {
        "build": "17",
        "created_at": "2026-01-02T03:04:05+00:00",
        "branch": "main",
        "batches": 2,
        "batches_done": 1,
        "open_shards": [],
        "verdict": None,
        "damage": "",
        "complete": False,
    }
