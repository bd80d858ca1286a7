"""The local run: every stage once, in order. This is the table of contents; the chapters hold the logic."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from covfleet.errors import TestsFailedError
from covfleet.gate.stage import gate_build
from covfleet.image.stage import ensure_image
from covfleet.model import Checkout, ImageRef, Ledger, Totals
from covfleet.plan.request import PlanRequest
from covfleet.plan.stage import plan_build
from covfleet.ports.clock import Clock
from covfleet.ports.engine import ContainerEngine
from covfleet.ports.narration import Narrate
from covfleet.ports.object_store import ObjectStore
from covfleet.ports.worker import WorkerLauncher
from covfleet.publish.stage import publish_build
from covfleet.report.stage import Places, report_build
from covfleet.settings.schema import Settings
from covfleet.store.keys import BuildKeys
from covfleet.store.status import StatusReader
from covfleet.watch.follow import combining_ahead, patiently
from covfleet.watch.local_shards import LocalShards, ShardProcess
from covfleet.watch.progress import Display


@dataclass(frozen=True, slots=True)
class Tools:
    """The real clients, made by ``cli.py``; what not every run needs is made when it is asked for."""

    store: ObjectStore
    engine: Callable[[], ContainerEngine]
    launcher: Callable[[ImageRef | None], WorkerLauncher]
    start_shard: Callable[[int], ShardProcess]
    site: Callable[[], ObjectStore]
    clock: Clock
    display: Display
    stopping: Callable[[], AbstractContextManager[threading.Event]]
    narrate: Narrate
    log: Narrate  # the image's build log


@dataclass(frozen=True, slots=True)
class Run:
    """What to run: a checkout, under these settings, as this build, with results in ``folder``."""

    checkout: Checkout
    settings: Settings
    keys: BuildKeys
    folder: Path  # .covfleet
    allow_partial: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What a run gave."""

    totals: Totals
    ledger: Ledger
    reports: Path
    site: str  # where the reports were published; empty if they weren't


def run(job: Run, tools: Tools) -> Result:
    """Go the data's way: image, plan, shards and beside them combine, report, publish.

    Raises:
        PipelineError: of the stage that failed; nothing that was finished is lost, and the same build can be
            continued.
    """
    settings, keys, store = job.settings, job.keys, tools.store
    workers = settings.s3.connections
    workdir, reports = job.folder / "work", job.folder / "reports"

    image = _image(job, tools) if settings.executor == "docker" else None
    launcher = tools.launcher(image)
    with LocalShards(tools.start_shard, tools.stopping, tools.clock, tools.narrate) as shards:
        shards.start(settings.shards)  # they come up, and wait for the plan
        plan = plan_build(
            PlanRequest(store, keys, job.checkout, launcher, settings, image, tools.clock, tools.narrate)
        )
        tools.narrate(f"{len(plan.tests)} tests in {len(plan.batches)} batches for {plan.shards} shards")
        shards.start(plan.shards)  # a build that is continued may have more
        with combining_ahead(
            store, keys, workdir, workdir / "ahead", workers=workers, narrate=tools.narrate
        ) as combination:
            merge = partial(patiently, combination.advance, tools.narrate)
            shards.watch(StatusReader(store, keys, plan), tools.display, meanwhile=merge)
            combination.finish(allow_partial=job.allow_partial)
    totals, ledger = report_build(
        store, keys, Places(workdir, reports, job.folder / "cache"), workers=workers, narrate=tools.narrate
    )
    site = ""
    if settings.publish.site:
        branch = job.checkout.branch
        site = publish_build(
            store, keys, tools.site(), branch=branch, workers=workers, allow_partial=job.allow_partial
        )
    return Result(totals, ledger, reports, site)


def judge(job: Run, result: Result, tools: Tools) -> None:
    """Raise if the run must not end well.

    Raises:
        TestsFailedError: tests failed.
        BelowGateError: a threshold isn't met.
    """
    failures = len(result.ledger.failures)
    if failures:
        raise TestsFailedError(
            f"{failures} of {result.ledger.tests_run} tests failed",
            hint=f"Their output stands in {result.reports / 'junit.xml'}.",
        )
    if not job.allow_partial or result.ledger.verdict == "complete":
        gate_build(tools.store, job.keys, job.settings.gate)


def _image(job: Run, tools: Tools) -> ImageRef:
    project = Path(job.checkout.root)
    build = job.keys.build
    return ensure_image(
        tools.engine(), job.settings.image, project, job.checkout, build, rebuild=False, on_log=tools.log
    )
