"""Which builds the store knows: their names and their plans."""

from __future__ import annotations

from datetime import datetime

from covfleet.errors import ConfigurationError, IncompleteDataError, ObjectNotFoundError
from covfleet.model import Plan
from covfleet.ports.clock import Clock
from covfleet.ports.object_store import ObjectStore
from covfleet.store.documents import from_json
from covfleet.store.keys import BuildKeys, CommitKeys


def builds(store: ObjectStore, keys: CommitKeys) -> tuple[str, ...]:
    """Return the commit's builds that have a plan, sorted."""
    names = (info.key.removeprefix(keys.builds).split("/") for info in store.list(keys.builds))
    return tuple(sorted(name[0] for name in names if name[1:] == ["plan.json"]))


def latest_build(store: ObjectStore, keys: CommitKeys, prefix: str = "") -> str | None:
    """Return the commit's build with the newest plan, by the plan's own ``created_at``; ``None`` without any.

    Only builds whose names begin with ``prefix`` count.

    Raises:
        IncompleteDataError: a plan is damaged, so that the newest can't be told.
    """
    names = [build for build in builds(store, keys) if build.startswith(prefix)]
    plans = {build: read_plan(store, keys.build(build)) for build in names}
    return max(
        plans, key=lambda build: (datetime.fromisoformat(plans[build].created_at), build), default=None
    )


def read_plan(store: ObjectStore, keys: BuildKeys) -> Plan:
    """Return a build's plan.

    Raises:
        ConfigurationError: the store has no such build.
        IncompleteDataError: the plan is damaged, or another build's.
    """
    if (plan := find_plan(store, keys)) is None:
        there = ", ".join(builds(store, keys.of_commit)) or "none"
        raise ConfigurationError(
            f"{store.url} has no build {keys.build} of commit {keys.commit}",
            hint=f"Its builds of this commit: {there}. `covfleet plan` starts one.",
        )
    return plan


def wait_for_plan(store: ObjectStore, keys: BuildKeys, clock: Clock, timeout_s: float) -> Plan:
    """Return a build's plan once it is there; fail as ``read_plan`` does if that takes ``timeout_s`` seconds.

    The store is asked rarely if the plan takes long: waiting costs a twentieth more at most.
    """
    began = clock.monotonic()
    while (waited := clock.monotonic() - began) < timeout_s:
        if (plan := find_plan(store, keys)) is not None:
            return plan
        clock.sleep(min(max(waited / 20, 0.02), 5.0))
    return read_plan(store, keys)


def find_plan(store: ObjectStore, keys: BuildKeys) -> Plan | None:
    """Return a build's plan, ``None`` if it has none.

    Raises:
        IncompleteDataError: the plan is damaged, or another build's.
    """
    try:
        plan = from_json(Plan, store.get(keys.plan).data, name=keys.plan)
    except ObjectNotFoundError:
        return None
    if (plan.commit, plan.build) != (keys.commit, keys.build):
        raise IncompleteDataError(
            f"{keys.plan} is the plan of build {plan.build} of commit {plan.commit}",
            hint="Somebody copied it there: plan the build again.",
        )
    return plan
