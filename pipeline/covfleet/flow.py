"""The table of contents: every stage once, in the data's order; the stages themselves hold the logic.

``run`` runs all stages on this machine. On many machines each stage is a separate command, and
``combine_beside`` combines while the shards run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from covfleet.combine.build import Combined
from covfleet.errors import InterruptedRunError, TestsFailedError
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
from covfleet.report.stage import ReportFolders, report_build
from covfleet.settings.schema import Settings
from covfleet.store.build import StoredBuild
from covfleet.store.status import StatusReader
from covfleet.text import counted
from covfleet.watch.follow import Ending, Watch, combining_ahead, follow, patiently
from covfleet.watch.local_shards import LocalShards, ShardProcess
from covfleet.watch.progress import Display
from covfleet.watch.rehearsal import Rehearsals

_LONGEST_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Tools:
    """The real clients, created by ``commands/``; those that only some runs need are created on demand."""

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
    """A run of a checkout, with these settings, as this build; results go to ``folder``."""

    checkout: Checkout
    settings: Settings
    build: StoredBuild
    folder: Path  # .covfleet
    allow_partial: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a run."""

    totals: Totals
    ledger: Ledger
    reports: Path
    site: str  # where the reports were published; empty if they weren't


def run(job: Run, tools: Tools) -> Result:
    """Run the stages: image, plan, shards with combine alongside, report, publish.

    Raises:
        PipelineError: a stage failed; finished work is kept, and the same build can be resumed.
    """
    settings, build, narrate = job.settings, job.build, tools.narrate
    workers = settings.s3.connections
    workdir, reports = job.folder / "work", job.folder / "reports"

    image = _image(job, tools) if settings.executor == "docker" else None
    launcher = tools.launcher(image)
    with LocalShards(tools.start_shard, tools.stopping, tools.clock, narrate) as shards:
        shards.start(settings.shards)  # they start up and wait for the plan
        plan = plan_build(PlanRequest(build, job.checkout, launcher, settings, image, tools.clock, narrate))
        tests, batches = counted(len(plan.tests), "test"), counted(len(plan.batches), "batch")
        narrate(f"{tests} in {batches} for {counted(plan.shards, 'shard')}")
        shards.start(plan.shards)  # a resumed build may have more
        with combining_ahead(
            build, workdir, workdir / "ahead", workers=workers, narrate=narrate
        ) as combination:
            merge = partial(patiently, combination.advance, narrate)
            shards.watch(StatusReader(build, plan), tools.display, meanwhile=merge)
            combination.finish(allow_partial=job.allow_partial)
    places = ReportFolders(workdir, reports, job.folder / "cache")
    totals, ledger = report_build(build, places, workers=workers, narrate=narrate)
    site = ""
    if settings.publish.site:
        branch, partial_too = job.checkout.branch, job.allow_partial
        site = publish_build(build, tools.site(), branch=branch, workers=workers, allow_partial=partial_too)
    return Result(totals, ledger, reports, site)


def judge(job: Run, result: Result) -> None:
    """Raise an error if the run must not succeed.

    Raises:
        TestsFailedError: tests failed.
        BelowGateError: a threshold isn't met.
    """
    failures = len(result.ledger.failures)
    if failures:
        raise TestsFailedError(
            f"{failures} of {counted(result.ledger.tests_run, 'test')} failed",
            hint=f"Their output is in {result.reports / 'junit.xml'}.",
        )
    if not job.allow_partial or result.ledger.verdict == "complete":
        gate_build(job.build, job.settings.gate)


def _image(job: Run, tools: Tools) -> ImageRef:
    project, build = Path(job.checkout.root), job.build.name
    return ensure_image(
        tools.engine(), job.settings.image, project, job.checkout, build, rebuild=False, on_log=tools.log
    )


@dataclass(frozen=True, slots=True)
class Following:
    """A build to combine alongside its shards, on any machine; results and caches go to ``folder``."""

    build: StoredBuild
    settings: Settings
    folder: Path  # .covfleet
    workdir: Path
    patience_s: float  # how long to wait without a heartbeat from any shard
    allow_partial: bool
    clock: Clock
    display: Display
    stopping: Callable[[], AbstractContextManager[threading.Event]]
    narrate: Narrate


def combine_beside(job: Following) -> Combined:
    """Merge results as shards deliver them and rehearse the reports until no more arrive; then finish.

    Raises:
        InterruptedRunError: a signal arrived; merged results are kept, and the next call resumes from there.
        PipelineError: see ``combine_build``.
    """
    build, settings, narrate = job.build, job.settings, job.narrate
    file = job.folder / "ahead" / build.commit / build.name
    workers = settings.s3.connections
    with combining_ahead(build, job.workdir, file, workers=workers, narrate=narrate) as combination:
        rehearsals = Rehearsals(combination, build.store, job.folder / "cache", narrate)
        with job.stopping() as stop, rehearsals:
            watch = Watch(
                reader=StatusReader(build, combination.plan),
                ending=Ending(job.clock, settings.lease_s, job.patience_s),
                every_s=min(settings.beat_s, _LONGEST_LOOK_S),
                display=job.display,
                narrate=narrate,
                stop=stop,
            )
            try:
                notes = follow(combination, rehearsals, watch)
            except KeyboardInterrupt:
                raise InterruptedRunError(
                    "interrupted", hint="Merged results are kept; run the same command again to resume."
                ) from None
        return combination.finish(allow_partial=job.allow_partial, notes=notes)
