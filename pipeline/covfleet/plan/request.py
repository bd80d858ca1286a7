"""What a plan is made from."""

from __future__ import annotations

from dataclasses import dataclass

from covfleet.model import Checkout, ImageRef
from covfleet.ports.clock import Clock
from covfleet.ports.narration import Narrate
from covfleet.ports.object_store import ObjectStore
from covfleet.ports.worker import WorkerLauncher
from covfleet.settings.schema import Settings
from covfleet.store.keys import BuildKeys


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What a plan is made from."""

    store: ObjectStore
    keys: BuildKeys
    checkout: Checkout
    launcher: WorkerLauncher
    settings: Settings
    image: ImageRef | None
    clock: Clock
    narrate: Narrate
