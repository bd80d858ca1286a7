"""Reports in rehearsal: they change no byte of the real ones, and whatever becomes of them ends nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from covfleet.adapters.folder.store import LocalStore
from covfleet.combine.build import combine_build
from covfleet.report.stage import ReportFolders, report_build
from covfleet.store.build import StoredBuild
from covfleet.watch.follow import combining_ahead
from covfleet.watch.rehearsal import Rehearsals
from support.builds import KEYS, HandmadeBuild
from support.datafiles import write_data
from support.processes import wait_for

FILES = {f"app/m{number}.py": f"def f(x):\n    return x + {number}\n" for number in range(4)}
STAMPS = re.compile(rb'created at [^<]*|timestamp="\d+"|"timestamp": "[^"]*"')
BATCHES = {str(number): [f"t.py::{number}"] for number in range(4)}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def rehearsing() -> bool:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return any(b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes() for child in children)


def rehearse(tmp_path: Path, store: LocalStore, share: float = 0.5) -> list[str]:
    """Rehearse what the store holds, and return what was told."""
    said: list[str] = []
    with (
        combining_ahead(
            StoredBuild(store, KEYS), tmp_path / "work", tmp_path / "ahead", workers=2, narrate=said.append
        ) as combination,
        Rehearsals(combination, store, tmp_path / "cache", said.append) as rehearsals,
    ):
        combination.advance()
        rehearsals.consider(share)
        wait_for(lambda: not rehearsals.is_busy, "the end of the rehearsal", 60)
    return said


def report(tmp_path: Path, store: LocalStore, name: str, cache: Path) -> dict[str, bytes]:
    """Combine and report the whole build; return coverage.py's files by name, without their time stamps."""
    combine_build(StoredBuild(store, KEYS), tmp_path / f"work-{name}", allow_partial=False, workers=2)
    out = tmp_path / name
    report_build(
        StoredBuild(store, KEYS), ReportFolders(tmp_path, out, cache), workers=2, narrate=pytest.fail
    )
    paths = [path for kind in ("*.html", "coverage.*") for path in out.rglob(kind)]
    return {path.relative_to(out).as_posix(): STAMPS.sub(b"", path.read_bytes()) for path in paths}


def give(build: HandmadeBuild, folder: Path, number: int) -> None:
    rows = {f"app/m{number}.py": [1, 2]} | {f"app/m{other}.py": [1] for other in range(4)}
    build.give(str(number), write_data(folder / f"data-{number}", {"": rows}))


def test_what_looks_the_same_in_the_end_is_taken_over_and_the_rest_is_made(
    tmp_path: Path, store: LocalStore
) -> None:
    build = HandmadeBuild.planned(store, tmp_path / "project", BATCHES, FILES)
    for number in range(3):
        give(build, tmp_path, number)
    assert rehearse(tmp_path, store) == []
    assert (tmp_path / "cache" / "reports").stat().st_size > 0
    give(build, tmp_path, 3)
    rehearsed = report(tmp_path, store, "rehearsed", tmp_path / "cache")
    plain = report(tmp_path, store, "plain", tmp_path / "no-cache")
    assert len(plain) == 4 + 3 + 4  # pages, indexes, and the other formats
    assert rehearsed == plain


def test_a_source_that_cannot_be_reported_is_told_at_once_and_ends_nothing(
    tmp_path: Path, store: LocalStore
) -> None:
    build = HandmadeBuild.planned(store, tmp_path / "project", BATCHES, FILES | {"app/m0.py": "def (:\n"})
    give(build, tmp_path, 0)
    [said] = rehearse(tmp_path, store)
    assert "the reports can't be written" in said
    assert "app/m0.py" in said


def test_a_rehearsal_that_is_ended_leaves_no_process_and_no_half_cache(
    tmp_path: Path, store: LocalStore
) -> None:
    build = HandmadeBuild.planned(store, tmp_path / "project", BATCHES, FILES)
    give(build, tmp_path, 0)
    with (
        combining_ahead(
            StoredBuild(store, KEYS), tmp_path / "work", tmp_path / "ahead", workers=2, narrate=pytest.fail
        ) as combination,
        Rehearsals(combination, store, tmp_path / "cache", pytest.fail) as rehearsals,
    ):
        combination.advance()
        rehearsals.consider(0.5)
    assert not rehearsing()
    assert not list(tmp_path.glob("work/rehearsal-*"))


def test_there_is_no_rehearsal_before_there_is_anything_or_when_all_is_there(
    tmp_path: Path, store: LocalStore
) -> None:
    build = HandmadeBuild.planned(store, tmp_path / "project", BATCHES, FILES)
    rehearse(tmp_path, store)
    give(build, tmp_path, 0)
    rehearse(tmp_path, store, share=0.1)
    rehearse(tmp_path, store, share=1.0)
    assert not (tmp_path / "cache").exists()
