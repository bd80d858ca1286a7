"""Builds that shards left in a store, for the commands that people run by hand on any machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from covfleet.adapters.stores import open_store
from covfleet.ports.object_store import ObjectStore
from covfleet.settings.schema import Settings

from support.builds import HandmadeBuild
from support.datafiles import write_data
from support.seaweed import Seaweed

COMMIT = "c0ffee0123456789"
FILES = {"app/a.py": "x = 1\ny = 2\n", "app/b.py": "z = 3\n", "t.py": "def test(): pass\n"}
BATCHES = {"1": ["t.py::a", "t.py::b"], "2": ["t.py::c"]}


@dataclass(frozen=True)
class Place:
    """A store, and the flags that name it."""

    store: ObjectStore
    flags: tuple[str, ...]


def folder_place(tmp_path: Path) -> Place:
    url = str(tmp_path / "store")
    return Place(open_store(url, Settings(), tmp_path), ("--store", url))


def s3_place(url: str, seaweed: Seaweed) -> Place:
    store = open_store(url, Settings(endpoint_url=seaweed.endpoint_url), Path())
    return Place(store, ("--store", url, "--endpoint-url", seaweed.endpoint_url))


@dataclass(frozen=True)
class Shards:
    """Leaves builds behind, as shards would have: ``plan`` one, ``finish`` some of its batches."""

    store: ObjectStore
    folder: Path

    def plan(self, build: str, hour: int = 3, **changes: object) -> HandmadeBuild:
        when = f"2026-01-02T{hour:02}:04:05+00:00"
        told = {"commit": COMMIT, "build": build, "created_at": when, **changes}
        return HandmadeBuild.planned(self.store, self.folder / f"project-{build}", BATCHES, FILES, **told)

    def finish(self, build: HandmadeBuild, *batches: str) -> HandmadeBuild:
        for batch in batches or BATCHES:
            data = write_data(self.folder / f"{build.plan.build}-{batch}", {"": {"app/a.py": [int(batch)]}})
            build.give(batch, data, shard=int(batch))
        return build


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Covfleet = Callable[..., Said]


def content(store: ObjectStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key).data for info in store.list("")}
