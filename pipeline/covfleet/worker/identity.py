"""Who a worker is: what tests need to keep the things apart that they share with other workers.

Databases, ports and folders of tests are commonly named after the worker of pytest-xdist that uses them. A
worker of ours says the same of itself in the same variables; https://pytest-xdist.readthedocs.io/en/stable/
how-to.html#identifying-the-worker-process-during-a-test names them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from covfleet.settings.schema import Settings

_PLACE = re.compile(r"\{(build|shard|slot|worker)\}")


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """One worker among all of a build.

    Attributes:
        commit, build: what it works for.
        shard: its shard, from 1; 0 if it belongs to none, as the planner.
        slot: its number within the shard, from 0.
        number: its number within the build, from 0.
        count: how many workers the build has.
    """

    commit: str
    build: str
    shard: int
    slot: int
    number: int
    count: int

    def environment(self, settings: Settings) -> dict[str, str]:
        """Return its environment variables: those of ``[tool.covfleet.env]``, filled in, and who it is."""
        places = {
            "build": self.build,
            "shard": f"{self.shard}",
            "slot": f"{self.slot}",
            "worker": f"{self.number}",
        }
        own = {f"COVFLEET_{name.upper()}": value for name, value in places.items()}
        if settings.xdist_worker:
            run = hashlib.sha256(f"{self.commit}/{self.build}".encode()).hexdigest()
            own["PYTEST_XDIST_WORKER"] = f"gw{self.number}"
            own["PYTEST_XDIST_WORKER_COUNT"] = f"{self.count}"
            own["PYTEST_XDIST_TESTRUNUID"] = run[:32]
        asked = {
            name: _PLACE.sub(lambda found: places[found[1]], value) for name, value in settings.env.items()
        }
        return {**own, **asked}


def test_worker(
    commit: str, build: str, shard: int, slot: int, shards: int, settings: Settings
) -> WorkerIdentity:
    """Return the identity of a shard's slot: the same whenever it is started again."""
    number = (shard - 1) * settings.procs + slot
    return WorkerIdentity(commit, build, shard, slot, number, shards * settings.procs)


def beside(commit: str, build: str, shards: int, settings: Settings, ahead: int = 0) -> WorkerIdentity:
    """Return the identity of a worker that is none of the shards', with a number that none of them has.

    The planner is the first after the last of them: it imports what they import, and shares no resource.
    """
    count = shards * settings.procs
    return WorkerIdentity(commit, build, 0, 0, count + ahead, count)
