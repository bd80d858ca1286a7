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

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its containers, for finding those of a killed shard."""
        plan = self.plan
        return {
            "covfleet.build": plan.build,
            "covfleet.commit": plan.commit,
            "covfleet.shard": f"{self.shard}",
        }
