"""Collect the tests with the application's own pytest."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from covfleet.plan.request import PlanRequest
from covfleet.ports.worker import WorkerSpec
from covfleet.worker.client import WorkerClient, exploring
from covfleet.worker.events import Ready


@dataclass(frozen=True, slots=True)
class Collected:
    """The application's environment, and the tests in the order of pytest's collection."""

    ready: Ready
    tests: tuple[str, ...]
    imports: tuple[str, ...] = ()  # test files without a test to run


def collect(request: PlanRequest) -> Collected:
    """Collect the test ids with the application's own pytest; an uncollectable file counts as a test.

    Such a file then fails in its shard under its own name, while everything else runs.
    """
    settings = request.settings
    labels = {"covfleet.build": request.build.name, "covfleet.commit": request.build.commit}
    with tempfile.TemporaryDirectory(prefix="covfleet-") as folder:
        spec = WorkerSpec(f"covfleet-{request.build.name}-plan", labels, Path(folder))
        with WorkerClient(request.launcher, spec, exploring(settings)) as client:
            ready = client.start(settings.batch_timeout_s)
            if not settings.pytest:
                return Collected(ready, ())
            suite = client.collect(settings.batch_timeout_s)
    for error in suite.errors:
        request.narrate(f"{error.id} can't be collected and will be reported as an error")
    tests = dict.fromkeys([*suite.tests, *(error.id for error in suite.errors)])
    return Collected(ready, tuple(tests), suite.imports)
