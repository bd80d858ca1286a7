"""A store, builds that shards left in it, and the command that ops run on them."""

from __future__ import annotations

from pathlib import Path

import pytest
from covfleet import cli
from support.left_builds import Covfleet, Place, Said, Shards, folder_place, s3_place
from support.seaweed import Seaweed


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return folder_place(tmp_path)
    seaweed: Seaweed = request.getfixturevalue("seaweed")
    return s3_place(request.getfixturevalue("s3_url"), seaweed)


@pytest.fixture
def shards(place: Place, tmp_path: Path) -> Shards:
    return Shards(place.store, tmp_path)


@pytest.fixture
def anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the command runs: no checkout, no settings; and short leases."""
    folder = tmp_path / "anywhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COVFLEET_LEASE_S", "1.5")
    monkeypatch.setenv("COVFLEET_HEARTBEAT_S", "0.1")
    return folder


@pytest.fixture
def covfleet(place: Place, anywhere: Path, capsys: pytest.CaptureFixture[str]) -> Covfleet:
    """Run a command against the store, and return its exit code and what it wrote."""

    def run(command: str, *arguments: str) -> Said:
        code = cli.status([command, *arguments, *place.flags])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run
