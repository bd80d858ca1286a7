"""Downloading a commit for the plain tools: all of it, proved, and stock coverage.py gets the same result."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from covfleet.adapters.folder.store import LocalStore
from covfleet.combine.verify import data_file
from covfleet.model import DataFile
from covfleet.store.data_files import key_of, send
from covfleet.store.encoding import to_json
from support.builds import HandmadeBuild, make_result
from support.datafiles import DAMAGE, write_data
from support.dataset_equal import api_view
from support.left_builds import BATCHES, COMMIT, Covfleet, Place, Shards
from support.seaweed import Seaweed


@pytest.fixture(params=["zstd", "none"])
def build(request: pytest.FixtureRequest, shards: Shards, tmp_path: Path) -> HandmadeBuild:
    """A complete build, whose data files travelled in this way."""
    build = shards.plan("17")
    for batch in BATCHES:
        give(build, batch, tmp_path / f"data-{batch}", compress=request.param == "zstd")
    return build


def give(build: HandmadeBuild, batch: str, path: Path, *, compress: bool) -> None:
    write_data(path, {f"test-{batch}": {"app/a.py": [int(batch)], "app/b.py": [1]}})
    name = f".coverage.host.pid{batch}.Xabcdefx.H012345678{batch}h"
    files = [(path, data_file(path, name))]
    sent = send(build.store, build.keys.of_commit, files, compress=compress, workers=2)
    result = make_result(build.plan, batch, sent, shard=int(batch))
    build.store.put(build.keys.result(batch), to_json(result))


def data_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def stored(build: HandmadeBuild) -> str:
    """Return the key of one of the data files."""
    keys = build.keys.of_commit
    return next(
        info.key for prefix in (keys.data_prefix, keys.packed_prefix) for info in build.store.list(prefix)
    )


def test_stock_coverage_combines_what_was_fetched_to_the_same(
    build: HandmadeBuild, covfleet: Covfleet, anywhere: Path, tmp_path: Path
) -> None:
    said = covfleet("fetch", COMMIT)
    assert said.code == 0, said.err
    folder = anywhere / COMMIT
    assert said.out.startswith("2 data files of build 17, ")
    assert data_files(folder) == [
        ".coverage.host.pid1.Xabcdefx.H0123456781h",
        ".coverage.host.pid2.Xabcdefx.H0123456782h",
    ]
    again = json.loads(covfleet("fetch", COMMIT, "--json").out)
    assert (again["files"], again["new"]) == (2, 0)
    command = [sys.executable, "-m", "coverage", "combine"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    assert covfleet("combine", "--commit", COMMIT).code == 0
    assert api_view(folder / ".coverage") == api_view(anywhere / ".covfleet" / ".coverage")


@pytest.mark.parametrize("damage", [*DAMAGE, "bomb"])
def test_a_damaged_file_is_named_and_nothing_appears(
    damage: str, build: HandmadeBuild, covfleet: Covfleet, anywhere: Path, tmp_path: Path
) -> None:
    key = stored(build)
    data = build.store.get(key).data
    hurt = zstandard.compress(bytes(10**7)) if damage == "bomb" else DAMAGE.get(damage, bytes)(data)
    build.store.put(key, hurt)
    said = covfleet("fetch", COMMIT, str(tmp_path / "data"))
    assert said.code == 5
    assert key.rpartition("/")[2].removesuffix(".zst") in said.err
    assert data_files(tmp_path / "data") == []
    combined = covfleet("combine", "--commit", COMMIT)
    assert combined.code == 5
    assert key.rpartition("/")[2].removesuffix(".zst") in combined.err
    partial = covfleet("fetch", COMMIT, str(tmp_path / "data"), "--allow-partial")
    assert partial.code == 0, partial.err
    assert len(data_files(tmp_path / "data")) == 1


def test_a_file_that_is_gone_is_named_and_nothing_appears(
    build: HandmadeBuild, covfleet: Covfleet, place: Place, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    key = stored(build)
    if isinstance(place.store, LocalStore):
        (Path(place.store.url) / key).unlink()
    else:
        seaweed: Seaweed = request.getfixturevalue("seaweed")
        inside = place.store.url.removeprefix(f"s3://{seaweed.bucket}/")
        seaweed.client().delete_object(Bucket=seaweed.bucket, Key=f"{inside}/{key}")
    said = covfleet("fetch", COMMIT, str(tmp_path / "data"))
    assert said.code == 5
    assert f"missing: {key.rpartition('/')[2].removesuffix('.zst')}: isn't in the store" in said.err
    assert data_files(tmp_path / "data") == []


def test_a_bomb_of_the_right_stored_size_is_cut_off_and_named(
    covfleet: Covfleet, shards: Shards, tmp_path: Path
) -> None:
    build = shards.finish(shards.plan("17"), "1")
    bomb = zstandard.compress(bytes(10**8))
    file = DataFile(".coverage.host.pid9.Xabcdefx.H0123456789h", 5000, "0" * 64, "zstd", len(bomb))
    build.store.put(key_of(build.keys.of_commit, file), bomb)
    build.store.put(build.keys.result("2"), to_json(make_result(build.plan, "2", [file], shard=2)))
    for arguments in (("fetch", COMMIT), ("recombine", COMMIT)):
        said = covfleet(*arguments)
        assert said.code == 5
        assert f"{file.name}: decompresses to more than its 5000 bytes" in said.err
    huge = dataclasses.replace(file, size_bytes=10**13)
    build.store.put(build.keys.result("2"), to_json(make_result(build.plan, "2", [huge], shard=2)))
    assert "would decompress to 10000000000000 bytes" in covfleet("recombine", COMMIT).err


def test_a_missing_batch_ends_with_5(covfleet: Covfleet, shards: Shards, anywhere: Path) -> None:
    shards.finish(shards.plan("17"), "1")
    said = covfleet("fetch", COMMIT)
    assert said.code == 5
    assert "missing: batch 2" in said.err
    assert covfleet("fetch", COMMIT, "--allow-partial").code == 0


def test_a_folder_with_other_data_is_refused(
    build: HandmadeBuild, covfleet: Covfleet, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / ".coverage.mine").write_bytes(b"x")
    said = covfleet("fetch", COMMIT, str(folder))
    assert said.code == 2
    assert "contains .coverage.mine, which is not from this build" in said.err
    assert data_files(folder) == [".coverage.mine"]


def test_a_half_file_of_an_earlier_attempt_is_replaced(
    build: HandmadeBuild, covfleet: Covfleet, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    covfleet("fetch", COMMIT, str(folder))
    path = folder / data_files(folder)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert json.loads(covfleet("fetch", COMMIT, str(folder), "--json").out)["new"] == 1
    assert path.read_bytes() == whole


def test_builds_of_one_commit_are_not_mixed(
    covfleet: Covfleet, shards: Shards, anywhere: Path, tmp_path: Path
) -> None:
    shards.finish(shards.plan("17"))
    newer = shards.plan("18", hour=4)
    for batch in BATCHES:
        give(newer, batch, tmp_path / f"newer-{batch}", compress=True)
    assert json.loads(covfleet("fetch", COMMIT, "--json").out)["files"] == 2
    assert covfleet("fetch", COMMIT, "--build", "17").code == 2  # into the same folder
    assert covfleet("fetch", COMMIT, "other", "--build", "17").code == 0


def test_a_folder_that_other_tools_filled_is_fetched_as_it_is(
    covfleet: Covfleet, place: Place, anywhere: Path, tmp_path: Path
) -> None:
    data = write_data(tmp_path / "data", {"": {"app/a.py": [1]}})
    place.store.upload(data, f"{COMMIT}/.coverage.host.1.x")
    said = covfleet("fetch", COMMIT)
    assert said.code == 0, said.err
    assert "without a plan" in said.out
    assert (anywhere / COMMIT / ".coverage.host.1.x").read_bytes() == data.read_bytes()
    place.store.put(f"{COMMIT}/.coverage.host.2.x", b"<html>")
    assert covfleet("fetch", COMMIT, "other").code == 5


def test_a_commit_that_is_not_there_ends_with_2(covfleet: Covfleet, place: Place) -> None:
    assert covfleet("fetch", "absent").code == 2
    assert covfleet("fetch", "absent", "--build", "1").code == 2


def test_shards_send_compressed_files_where_they_are_told_to(
    covfleet: Covfleet, place: Place, anywhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (anywhere / "app.py").write_text("def double(x):\n    return 2 * x\n")
    (anywhere / "test_app.py").write_text(
        "import app\n\n\ndef test_double():\n    assert app.double(2) == 4\n"
    )
    for way, prefix in (("zstd", f"{COMMIT}/zstd/"), ("none", f"{COMMIT}x/.coverage.")):
        monkeypatch.setenv("COVFLEET_COMPRESSION", way)
        commit = prefix.partition("/")[0]
        assert covfleet("plan", "--commit", commit, "--shards", "1").code == 0
        said = covfleet("shard", "1", "--commit", commit)
        assert said.code == 0, said.err
        found = [info.key for info in place.store.list(f"{commit}/")]
        assert [key for key in found if key.startswith(prefix)]
        assert covfleet("recombine", commit).code == 0
