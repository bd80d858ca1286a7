"""One door to a build: only this module reads and writes the documents of a stored build.

*Absent* means the same for all of them: ``find_plan``, ``find_ledger`` and so on return ``None`` for a
missing document; ``plan``, ``ledger`` and so on raise an error that names the command that writes it. A
document that exists but can't be read is never absent: both raise ``IncompleteDataError`` with its key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from covfleet.errors import (
    ConfigurationError,
    IncompleteDataError,
    ObjectNotFoundError,
    PreconditionFailedError,
)
from covfleet.model import BatchResult, Claim, Heartbeat, Ledger, Plan, ReportManifest
from covfleet.ports.clock import Clock
from covfleet.ports.object_store import ObjectInfo, ObjectStore
from covfleet.store.encoding import from_json, to_json
from covfleet.store.keys import BuildKeys, CommitKeys
from covfleet.store.media import SQLITE, content_type
from covfleet.store.sources import unpack
from covfleet.store.transfer import download_all, put_once

T = TypeVar("T")
_ENDING = ".json"


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """A document that was read, with the etag for replacing it."""

    value: T
    etag: str


def planned_builds(store: ObjectStore, keys: CommitKeys) -> tuple[str, ...]:
    """Return the names of a commit's builds that have a plan, sorted."""
    names = (info.key.removeprefix(keys.builds).split("/") for info in store.list(keys.builds))
    return tuple(sorted(name[0] for name in names if name[1:] == ["plan.json"]))


@dataclass(frozen=True, slots=True)
class StoredBuild:
    """A build in a store; it need not exist yet."""

    store: ObjectStore
    keys: BuildKeys

    @property
    def name(self) -> str:
        """The build's id."""
        return self.keys.build

    @property
    def commit(self) -> str:
        """The build's commit."""
        return self.keys.commit

    def __str__(self) -> str:
        return f"build {self.name} of commit {self.commit}"

    # ---- the plan and the sources

    def find_plan(self) -> Plan | None:
        """Return the plan, or ``None`` if there is none yet.

        Raises:
            IncompleteDataError: the plan is damaged or belongs to another build.
        """
        held = self._find(Plan, self.keys.plan)
        if held is None:
            return None
        plan = held.value
        if (plan.commit, plan.build) != (self.commit, self.name):
            raise IncompleteDataError(
                f"{self.keys.plan} is the plan of build {plan.build} of commit {plan.commit}",
                hint="It was copied there from another build: plan this build again.",
            )
        return plan

    def plan(self) -> Plan:
        """Return the plan.

        Raises:
            ConfigurationError: the store has no such build.
            IncompleteDataError: the plan is damaged or belongs to another build.
        """
        if (plan := self.find_plan()) is None:
            there = ", ".join(planned_builds(self.store, self.keys.of_commit)) or "none"
            raise ConfigurationError(
                f"{self.store.url} has no {self}",
                hint=f"It has these builds of the commit: {there}. `covfleet plan` starts a new one.",
            )
        return plan

    def wait_for_plan(self, clock: Clock, timeout_s: float) -> Plan:
        """Wait up to ``timeout_s`` seconds for the plan and return it; then fail as ``plan`` does.

        The longer the wait, the rarer the polls: polling prolongs the wait by a twentieth at most.
        """
        began = clock.monotonic()
        while (waited := clock.monotonic() - began) < timeout_s:
            if (plan := self.find_plan()) is not None:
                return plan
            clock.sleep(min(max(waited / 20, 0.02), 5.0))
        return self.plan()

    def keep_plan(self, plan: Plan, sources: Path) -> Plan:
        """Store the archive of the sources, then the plan; return the stored plan, which is the first one."""
        self.store.upload(sources, self.keys.sources, content_type="application/zstd")
        put_once(self.store, self.keys.plan, to_json(plan))
        return self.plan()

    def unpack_sources(self, plan: Plan, folder: Path) -> None:
        """Unpack the project's sources, as of the plan, into ``folder``.

        The downloaded archive stays beside the folder.

        Raises:
            ObjectNotFoundError: the store has lost the archive.
            IncompleteDataError: the sources differ from the plan's.
        """
        archive = folder.with_suffix(".tar.zst")
        self.store.download(self.keys.sources, archive)
        unpack(archive, folder, plan.sources)

    # ---- claims

    def claimed(self) -> set[str]:
        """Return the ids of the batches that some shard has claimed."""
        return self._names(self.keys.claims)

    def claim(self, claim: Claim) -> bool:
        """Claim an unclaimed batch; return whether it is ours."""
        return put_once(self.store, self.keys.claim(claim.batch), to_json(claim))

    def held_claim(self, batch: str) -> Held[Claim]:
        """Return the claim on a batch. Raises ``ObjectNotFoundError`` if there is none."""
        return self._read(Claim, self.keys.claim(batch))

    def take_over(self, lost: Held[Claim], claim: Claim) -> bool:
        """Replace a claim if nobody else has replaced it meanwhile; return whether the batch is ours."""
        key, ours = self.keys.claim(claim.batch), to_json(claim)
        try:
            self.store.put(key, ours, if_match=lost.etag)
        except PreconditionFailedError:
            return (
                self.store.get(key).data == ours
            )  # ours, if only the response to our first attempt was lost
        return True

    # ---- heartbeats

    def beats(self) -> dict[int, ObjectInfo]:
        """Return the listing's entry of each shard's heartbeat, by shard, without reading the heartbeats."""
        prefix = self.keys.shards
        names = (
            (info.key.removeprefix(prefix).removesuffix(_ENDING), info) for info in self.store.list(prefix)
        )
        return {int(name): info for name, info in names if name.isdecimal()}

    def find_heartbeat(self, shard: int) -> Held[Heartbeat] | None:
        """Return a shard's last heartbeat, or ``None`` if there is none yet."""
        return self._find(Heartbeat, self.keys.shard(shard))

    def put_heartbeat(self, heartbeat: Heartbeat, before: str | None) -> str:
        """Replace the heartbeat with the etag ``before`` and return the new etag.

        Raises:
            PreconditionFailedError: another writer has replaced it.
        """
        key, data = self.keys.shard(heartbeat.shard), to_json(heartbeat)
        return self.store.put(key, data, if_absent=before is None, if_match=before)

    # ---- results

    def finished(self) -> set[str]:
        """Return the ids of the batches that have a result."""
        return self._names(self.keys.results)

    def result_objects(self) -> Iterator[ObjectInfo]:
        """Yield the listing's entries of the results, without reading the results."""
        return self.store.list(self.keys.results)

    def read_result(self, key: str) -> BatchResult:
        """Return the result with a key from the listing."""
        return self._read(BatchResult, key).value

    def put_result(self, result: BatchResult) -> bool:
        """Write a batch's result, after its data files; return whether it is the first, which counts."""
        return put_once(self.store, self.keys.result(result.batch), to_json(result))

    def results_in_order(self, plan: Plan, folder: Path, workers: int) -> list[BatchResult]:
        """Return the existing results in the order of the plan; they are downloaded to a new ``folder``."""
        present = self.finished()
        batches = [batch.id for batch in plan.batches if batch.id in present]
        folder.mkdir()
        pairs = [(folder / f"{batch}{_ENDING}", self.keys.result(batch)) for batch in batches]
        download_all(self.store, pairs, workers=workers)
        return [from_json(BatchResult, path.read_bytes(), name=key) for path, key in pairs]

    # ---- the ledger and the combined data

    def find_ledger(self) -> Ledger | None:
        """Return the ledger, or ``None`` if the build isn't combined yet."""
        held = self._find(Ledger, self.keys.ledger)
        return held.value if held else None

    def ledger(self) -> Ledger:
        """Return the ledger.

        Raises:
            IncompleteDataError: the build isn't combined yet, or its ledger is damaged.
        """
        if (ledger := self.find_ledger()) is None:
            raise IncompleteDataError(
                f"{self} has no ledger: it isn't combined yet",
                hint=f"Run `covfleet combine --commit {self.commit} --build {self.name}` first.",
            )
        return ledger

    def put_ledger(self, ledger: Ledger) -> None:
        """Write the ledger, replacing an earlier one."""
        self.store.put(self.keys.ledger, to_json(ledger), content_type=content_type(self.keys.ledger))

    def put_combined(self, path: Path) -> None:
        """Upload the combined data file as the build's and as the commit's."""
        for key in (self.keys.combined, self.keys.of_commit.combined):
            self.store.upload(path, key, content_type=SQLITE)

    def download_combined(self, path: Path) -> None:
        """Download the combined data file. Raises ``ObjectNotFoundError`` if there is none."""
        self.store.download(self.keys.combined, path)

    def combined_at(self) -> str:
        """Return the time when the combined data file was written: ISO 8601, by the store's clock."""
        return next(iter(self.store.list(self.keys.combined))).modified.isoformat()

    # ---- the reports

    def find_manifest(self) -> ReportManifest | None:
        """Return the manifest of the reports, or ``None`` if there are no reports yet."""
        held = self._find(ReportManifest, self.keys.manifest)
        return held.value if held else None

    def put_manifest(self, manifest: ReportManifest) -> None:
        """Write the manifest, after all files that it lists."""
        self.store.put(self.keys.manifest, to_json(manifest), content_type=content_type(self.keys.manifest))

    def reported(self) -> tuple[ReportManifest, Ledger]:
        """Return the manifest of the reports and the ledger, if they belong together.

        Raises:
            IncompleteDataError: the build has no ledger or no reports, or was combined again after the
                reports.
        """
        ledger, manifest = self.find_ledger(), self.find_manifest()
        if ledger is None or manifest is None:
            raise IncompleteDataError(
                f"{self} has no reports", hint="Run `covfleet combine` and `covfleet report` for it first."
            )
        described = ledger.combined.sha256 if ledger.combined else ""
        if (described, ledger.verdict) != (manifest.data_sha256, manifest.verdict):
            raise IncompleteDataError(
                f"the reports of {self} come from other data than its ledger describes",
                hint="It was combined again after the reports: run `covfleet report` again.",
            )
        return manifest, ledger

    def report_sizes(self) -> dict[str, int]:
        """Return the size of each report file, in bytes, by path."""
        prefix = self.keys.reports
        return {info.key.removeprefix(prefix): info.size_bytes for info in self.store.list(prefix)}

    # ----

    def _names(self, prefix: str) -> set[str]:
        keys = (info.key for info in self.store.list(prefix))
        return {key.removeprefix(prefix).removesuffix(_ENDING) for key in keys if key.endswith(_ENDING)}

    def _read(self, kind: type[T], key: str) -> Held[T]:
        stored = self.store.get(key)
        return Held(from_json(kind, stored.data, name=key), stored.etag)

    def _find(self, kind: type[T], key: str) -> Held[T] | None:
        try:
            return self._read(kind, key)
        except ObjectNotFoundError:
            return None
