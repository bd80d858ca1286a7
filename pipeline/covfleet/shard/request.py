"""The input of a shard."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from covfleet.model import Plan
from covfleet.ports.clock import Clock
from covfleet.ports.narration import Narrate
from covfleet.ports.worker import WorkerLauncher
from covfleet.settings.schema import Settings
from covfleet.store.build import StoredBuild
from covfleet.worker.identity import WorkerIdentity, beside, test_worker


@dataclass(frozen=True, slots=True)
class ShardRequest:
    """A shard's build, number and tools; ``stop`` is set to end it early."""

    build: StoredBuild
    plan: Plan
    shard: int  # from 1
    launcher: WorkerLauncher
    settings: Settings
    clock: Clock
    stop: threading.Event
    narrate: Narrate
    workdir: Path

    def identity(self, slot: int) -> WorkerIdentity:
        """Return who the worker of a slot is."""
        plan = self.plan
        return test_worker(plan.commit, plan.build, self.shard, slot, plan.shards, self.settings)

    def comparing_identity(self, slot: int) -> WorkerIdentity:
        """Return who compares cores for a slot, while the slot's own worker keeps what it has set up."""
        plan, own = self.plan, self.identity(slot)
        return beside(plan.commit, plan.build, plan.shards, self.settings, ahead=own.number + 1)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its containers, for finding those of a killed shard."""
        plan = self.plan
        return {
            "covfleet.build": plan.build,
            "covfleet.commit": plan.commit,
            "covfleet.shard": f"{self.shard}",
        }
