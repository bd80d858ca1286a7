"""The input of the stage ``plan``."""

from __future__ import annotations

from dataclasses import dataclass

from covfleet.model import Checkout, ImageRef
from covfleet.ports.clock import Clock
from covfleet.ports.narration import Narrate
from covfleet.ports.worker import WorkerLauncher
from covfleet.settings.schema import Settings
from covfleet.store.build import StoredBuild


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """Everything that planning a build needs."""

    build: StoredBuild
    checkout: Checkout
    launcher: WorkerLauncher
    settings: Settings
    image: ImageRef | None
    clock: Clock
    narrate: Narrate
