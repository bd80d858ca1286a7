"""One door to a commit: its builds and the data files in its folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from covfleet.model import DataFile
from covfleet.ports.narration import Progress
from covfleet.ports.object_store import ObjectInfo, ObjectStore
from covfleet.store import data_files
from covfleet.store.build import StoredBuild, planned_builds
from covfleet.store.keys import CommitKeys
from covfleet.store.media import SQLITE


@dataclass(frozen=True, slots=True)
class StoredCommit:
    """A commit in a store; it need not exist yet."""

    store: ObjectStore
    keys: CommitKeys

    @classmethod
    def of(cls, build: StoredBuild) -> StoredCommit:
        """Return the door to a build's commit."""
        return cls(build.store, build.keys.of_commit)

    @property
    def name(self) -> str:
        """The commit."""
        return self.keys.commit

    def build(self, name: str) -> StoredBuild:
        """Return the door to one of its builds.

        Raises:
            ConfigurationError: the name can't be a build's.
        """
        return StoredBuild(self.store, self.keys.build(name))

    def planned(self) -> tuple[str, ...]:
        """Return the names of the builds that have a plan, sorted."""
        return planned_builds(self.store, self.keys)

    def newest(self, prefix: str = "") -> StoredBuild | None:
        """Return the build with the newest plan, by the plan's own ``created_at``; ``None`` without any.

        Only builds whose names begin with ``prefix`` count.

        Raises:
            IncompleteDataError: a plan is damaged, so that the newest build is unknown.
        """
        names = [name for name in self.planned() if name.startswith(prefix)]
        created = {name: datetime.fromisoformat(self.build(name).plan().created_at) for name in names}
        newest = max(created, key=lambda name: (created[name], name), default=None)
        return None if newest is None else self.build(newest)

    # ---- data files

    def plain_data(self) -> dict[str, ObjectInfo]:
        """Return the uncompressed data files of all builds, by name."""
        return self._listed(self.keys.data_prefix)

    def data(self) -> dict[str, ObjectInfo]:
        """Return the data files of all builds, by their names in the folder (``zstd/<name>.zst``)."""
        return self.plain_data() | self._listed(self.keys.packed_prefix)

    def _listed(self, prefix: str) -> dict[str, ObjectInfo]:
        return {info.key.removeprefix(self.keys.folder): info for info in self.store.list(prefix)}

    def send(
        self, files: Sequence[tuple[Path, DataFile]], *, compress: bool, workers: int
    ) -> tuple[DataFile, ...]:
        """Upload data files: see ``data_files.send``."""
        return data_files.send(self.store, self.keys, files, compress=compress, workers=workers)

    def receive(
        self, wanted: Iterable[tuple[Path, DataFile]], *, workers: int, progress: Progress | None = None
    ) -> None:
        """Download data files: see ``data_files.receive``."""
        data_files.receive(self.store, self.keys, wanted, workers=workers, progress=progress)

    def put_combined(self, path: Path) -> None:
        """Upload a combined data file as the commit's."""
        self.store.upload(path, self.keys.combined, content_type=SQLITE)
