"""The archive of the sources: nothing too much goes in, and nothing hostile comes out."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import zstandard
from covfleet.errors import ConfigurationError, IncompleteDataError
from covfleet.model import SourceFile
from covfleet.store import sources
from covfleet.store.sources import manifest, pack, unpack

FILES = {
    "app/a.py": b"x = 1\r\n",
    "app/t.html": b"<p>",
    "bin/tool": b"#!/usr/bin/env python3\nprint()\n",
    "pyproject.toml": b"",
    "caf\xe9.py": "é = 1\n".encode(),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def archive_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    path.write_bytes(zstandard.compress(plain.getvalue()))
    return path


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


def refusal(archive: Path, dest: Path, listed: tuple[SourceFile, ...]) -> str:
    with pytest.raises(IncompleteDataError) as caught:
        unpack(archive, dest, listed)
    return str(caught.value)


@pytest.mark.parametrize("name", ["../evil.py", "/tmp/evil.py", "app/../../evil.py"])
def test_a_name_that_leads_outside_is_refused_even_if_the_manifest_has_it(tmp_path: Path, name: str) -> None:
    data = b"evil"
    listed = (SourceFile(name, "0" * 64),)
    refusal(archive_of(tmp_path / "a", (tarfile.TarInfo(name), data)), tmp_path / "deep/dest", listed)
    assert {path.name for path in tmp_path.rglob("*")} <= {"a", "deep", "dest", "tmp", "evil.py"}
    assert not (tmp_path / "evil.py").exists()
    assert not (tmp_path / "deep/evil.py").exists()


@pytest.mark.parametrize(
    "member",
    [
        link("app/a.py", "/etc/passwd"),
        link("app/a.py", "x", tarfile.LNKTYPE),
        link("app/a.py", "", tarfile.FIFOTYPE),
    ],
)
def test_anything_but_a_regular_file_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    archive = archive_of(tmp_path / "a", (member, b""))
    assert "app/a.py" in refusal(archive, tmp_path / "dest", (SourceFile("app/a.py", "0" * 64),))


def test_a_file_that_the_manifest_has_not_is_refused(project: Path, tmp_path: Path) -> None:
    listed = manifest(project, FILES)
    pack(project, listed, tmp_path / "a")
    assert "app/t.html" in refusal(tmp_path / "a", tmp_path / "dest", listed[:1])


def test_a_file_that_the_archive_lacks_is_refused(project: Path, tmp_path: Path) -> None:
    listed = manifest(project, FILES)
    pack(project, listed[1:], tmp_path / "a")
    assert listed[0].path in refusal(tmp_path / "a", tmp_path / "dest", listed)


def test_a_file_with_another_content_is_refused(project: Path, tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a", (tarfile.TarInfo("app/a.py"), b"x = 2\n"))
    assert "differs from the plan's" in refusal(archive, tmp_path / "dest", manifest(project, ["app/a.py"]))


def test_a_file_that_comes_twice_is_refused(project: Path, tmp_path: Path) -> None:
    members = [(tarfile.TarInfo("app/a.py"), FILES["app/a.py"]) for _ in range(2)]
    refusal(archive_of(tmp_path / "a", *members), tmp_path / "dest", manifest(project, ["app/a.py"]))


@pytest.mark.parametrize(
    "bytes_of",
    [
        lambda data: b"",
        lambda data: b"<html>",
        lambda data: data[: len(data) // 2],
        lambda data: data[:30] + bytes([data[30] ^ 4]) + data[31:],
        lambda data: zstandard.compress(b"no tar archive at all" * 50),
    ],
)
def test_a_damaged_archive_is_refused(project: Path, tmp_path: Path, bytes_of) -> None:
    pack(project, manifest(project, FILES), tmp_path / "a")
    (tmp_path / "a").write_bytes(bytes_of((tmp_path / "a").read_bytes()))
    refusal(tmp_path / "a", tmp_path / "dest", manifest(project, FILES))


def test_a_bomb_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_BYTES", 1_000_000)
    archive = archive_of(tmp_path / "a", (tarfile.TarInfo("a.py"), bytes(50_000_000)))
    assert archive.stat().st_size < 10_000
    assert "more than the sources may have" in refusal(
        archive, tmp_path / "dest", (SourceFile("a.py", "0" * 64),)
    )
    assert sum(path.stat().st_size for path in (tmp_path / "dest").rglob("*")) <= 1_100_000


def test_too_large_a_project_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_BYTES", 10)
    with pytest.raises(ConfigurationError, match="larger than 10 bytes"):
        manifest(project, FILES)


def test_a_file_that_changes_between_manifest_and_archive_is_noticed(project: Path, tmp_path: Path) -> None:
    listed = manifest(project, FILES)
    (project / "app/a.py").write_text("x = 3")
    with pytest.raises(ConfigurationError, match=r"app/a\.py changed"):
        pack(project, listed, tmp_path / "a")
    assert {path.name for path in tmp_path.iterdir()} == {"project"}


def test_what_cannot_be_reported_stays_at_home(project: Path) -> None:
    others = {
        "data.json": b"{}",
        "logo.png": b"",
        "id_rsa": b"KEY",
        "run": b"#!/bin/sh\n",
        ".env": b"SECRET=1",
    }
    for name, data in others.items():
        (project / name).write_bytes(data)
    (project / "huge.html").write_bytes(bytes(5 * 1024**2))
    listed = manifest(project, [*FILES, *others, "huge.html", "deleted.py", "app"])
    assert {source.path for source in listed} == FILES.keys()


def test_links_that_lead_out_are_no_sources(project: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("KEY = 1")
    (project / "out.py").symlink_to(tmp_path / "secret.py")
    (project / "in.py").symlink_to("app/a.py")
    (project / "dir").symlink_to(tmp_path)
    listed = manifest(project, ["out.py", "in.py", "dir/secret.py", "../secret.py", "gone.py"])
    assert [source.path for source in listed] == ["in.py"]


def test_names_that_are_not_unicode_are_no_sources(project: Path) -> None:
    name = "\udcff.py"
    (project / name).write_text("")
    assert manifest(project, [name]) == ()


def test_every_file_comes_back_exactly(project: Path, tmp_path: Path) -> None:
    listed = manifest(project, reversed(FILES))
    assert [source.path for source in listed] == sorted(FILES)
    pack(project, listed, tmp_path / "a")
    unpack(tmp_path / "a", tmp_path / "dest", listed)
    assert {name: (tmp_path / "dest" / name).read_bytes() for name in FILES} == FILES


def test_the_same_files_give_the_same_archive(project: Path, tmp_path: Path) -> None:
    listed = manifest(project, FILES)
    pack(project, listed, tmp_path / "a")
    for name, data in FILES.items():
        (project / name).write_bytes(data)
        (project / name).chmod(0o755)
    pack(project, listed[::-1], tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_empty_project_is_possible(tmp_path: Path) -> None:
    pack(tmp_path, (), tmp_path / "a")
    unpack(tmp_path / "a", tmp_path / "dest", ())
    assert list((tmp_path / "dest").iterdir()) == []
