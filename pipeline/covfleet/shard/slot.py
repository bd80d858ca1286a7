"""One of a shard's worker processes, and the delivery of its results: data files first, then the result."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from covfleet.errors import ConfigurationError, WorkerKilledError
from covfleet.model import Batch, BatchResult, CoresCompared, DataFile, Plan, TestOutcome, file_of_test
from covfleet.model.scope import Observed
from covfleet.ports.worker import WorkerSpec
from covfleet.settings.coverage import require_same
from covfleet.shard.batch import BatchProgress, BatchRun, BatchStoppedError, Surroundings, bounded
from covfleet.shard.collect import DataFileCollector
from covfleet.shard.comparing import compare_cores_on, is_chosen
from covfleet.shard.heart import Heart
from covfleet.shard.interpreter import check_interpreter, place
from covfleet.shard.request import ShardRequest
from covfleet.store.commit import StoredCommit
from covfleet.store.keys import LATE
from covfleet.worker.client import StartOptions, WorkerClient, reasons
from covfleet.worker.events import Ready

_QUIT_S = 10.0
"""How long a worker may take to finish its test session."""


@dataclass(frozen=True, slots=True)
class SlotContext:
    """The data that a slot shares with its shard. ``token`` identifies the run, ``number`` the slot in it."""

    request: ShardRequest
    token: str
    number: int
    stopping: Callable[[], bool]
    heart: Heart


class Slot:
    """Runs batches in a worker that stays alive between them. Use it as a context manager."""

    def __init__(self, context: SlotContext) -> None:
        self._context = context
        self._request = context.request
        self._name = f"{self._request.build.name}-{self._request.shard}-{context.token[:8]}-{context.number}"
        self._folder = self._request.workdir / self._name
        self._generation = 0
        self._client: WorkerClient | None = None
        self._collector = DataFileCollector(self._folder / "collected")
        self._progress = BatchProgress()
        self._root = ""
        self._environment = self._request.identity(context.number).environment(self._request.settings)
        self._carried: tuple[DataFile, ...] = ()
        self._remarks: tuple[str, ...] = ()  # on the workers, for every result
        self._observed = Observed()  # not yet delivered

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_exc: object) -> None:
        if exc_type is None and not self._context.stopping():
            self.rest()
        elif self._client is not None:
            self._client.stop(0)
        shutil.rmtree(self._folder, ignore_errors=True)  # it is delivered, or from a batch that doesn't count

    def rest(self) -> None:
        """Finish the worker's test session and deliver its data; the next batch would start a new worker.

        A shard does this while it waits for the others, so that the build needn't wait for it at the end.
        """
        if self._client is not None:
            self._client.quit(_QUIT_S)
            self._client = None
            self._deliver_late_data()

    def run(self, batch: Batch) -> bool:
        """Run a claimed batch and deliver its result; return whether it has one now.

        It has none if the shard was asked to stop meanwhile.
        """
        clock, heart = self._request.clock, self._context.heart
        began = clock.monotonic()
        self._progress = BatchProgress()
        heart.update(state="running")
        try:
            run = BatchRun(batch, self._surroundings(), tests_beside(self._request.plan, batch))
            outcomes, notes = run.run()
        except BatchStoppedError:
            return False
        self._observe(run.observed)
        busy_s = clock.monotonic() - began
        self._show(BatchProgress(len(outcomes), self._progress.failed, ""))
        heart.count(batches_done=1, busy_s=busy_s)
        self._deliver(batch.id, outcomes, notes, busy_s, self._compared(batch))
        return True

    def _compared(self, batch: Batch) -> CoresCompared | None:
        request = self._request
        if not is_chosen(request, batch):
            return None
        identity = request.comparing_identity(self._context.number)
        environment = identity.environment(request.settings)
        spec = WorkerSpec(f"covfleet-{self._name}", request.labels, self._folder / "cores", environment)
        return compare_cores_on(request, start_options(request), spec, batch, self._context.stopping)

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            worker=self._worker,
            discard_worker=self._discard_worker,
            collector=self._collector,
            clock=self._request.clock,
            stopped=self._context.stopping,
            on_progress=self._show,
            timeout_s=self._request.settings.batch_timeout_s,
            collect_timeout_s=self._request.settings.collect_timeout_s,
        )

    def _show(self, progress: BatchProgress) -> None:
        before, self._progress = self._progress, progress
        self._context.heart.count(
            tests_done=progress.done - before.done, tests_failed=progress.failed - before.failed
        )
        self._context.heart.update(current=progress.current)

    # ---- the worker

    def _worker(self) -> WorkerClient:
        if self._client is None:
            self._client = self._launch()
        return self._client

    def _discard_worker(self) -> None:
        self._client = None

    def _launch(self) -> WorkerClient:
        """Start a worker; if something kills it during the start, try once more."""
        try:
            return self._launch_once()
        except WorkerKilledError as error:
            self._request.narrate(f"{error}\ntrying once more")
            return self._launch_once()

    def _launch_once(self) -> WorkerClient:
        request = self._request
        self._generation += 1
        output_dir = self._folder / f"out-{self._generation}"
        output_dir.mkdir(parents=True)
        self._collector.watch(output_dir)
        spec = WorkerSpec(
            f"covfleet-{self._name}-{self._generation}", request.labels, output_dir, self._environment
        )
        client = WorkerClient(request.launcher, spec, start_options(request))
        try:
            ready = client.start(request.settings.batch_timeout_s)
            self._check(ready)
        except BaseException:
            client.stop(0)
            raise
        self._root = ready.root
        return client

    def _check(self, ready: Ready) -> None:
        plan, shard = self._request.plan, self._request.shard
        if plan.coverage:
            require_same(plan.coverage.from_file, ready.found, f"{plan.coverage.file} of shard {shard}")
            require_same(plan.coverage.text, ready.applied, f"what shard {shard} measures with")
        check_interpreter(shard, plan.environment, ready.environment)
        if ready.measurement != plan.measurement:
            raise ConfigurationError(
                f"shard {shard} measures {ready.measurement}, but the build was planned with "
                f"{plan.measurement}",
                hint="Use the same image (or interpreter) and settings for the plan and for every shard.",
            )
        here, planned = place(ready.environment), place(plan.environment)
        if here != planned:
            remark = f"ran {here}, in the same versions as {planned}"
            self._remarks = (f"{remark}, for which the build was planned",)

    # ---- delivery

    def _observe(self, new: Observed) -> None:
        held = self._observed
        self._observed = Observed((*held.files, *new.files), (*held.strangers, *new.strangers))

    def _deliver(
        self,
        batch: str,
        outcomes: tuple[TestOutcome, ...],
        notes: tuple[str, ...],
        busy_s: float,
        cores: CoresCompared | None = None,
    ) -> None:
        request, plan = self._request, self._request.plan
        result = BatchResult(
            commit=plan.commit,
            build=plan.build,
            batch=batch,
            shard=request.shard,
            token=self._context.token,
            duration_s=busy_s,
            core=plan.measurement.core,
            outcomes=bounded(outcomes),
            data_files=(*self._carried, *self._upload()),
            notes=(*notes, *self._remarks),
            root=self._root,
            cores=cores,
            observed=self._observed,
        )
        if request.build.put_result(result):
            self._carried, self._observed = (), Observed()
        else:
            # Its tests count elsewhere. But later batches of this process won't import again what they
            # imported here, and only these files and observations record that, so they are part of the
            # next result.
            self._carried = result.data_files
            request.narrate(f"another shard finished batch {batch} first; its result counts")

    def _upload(self) -> tuple[DataFile, ...]:
        request = self._request
        collected = self._collector.take()
        settings = request.settings
        commit = StoredCommit.of(request.build)
        sent = commit.send(collected, compress=settings.compresses, workers=settings.s3.connections)
        for path, _ in collected:
            path.unlink()
        return sent

    def _deliver_late_data(self) -> None:
        """Deliver data that subprocesses wrote after the last batch; it belongs to no test."""
        sound = self._collector.collect_left_behind()
        notes = () if sound else ("a subprocess that outlived its batch left a damaged data file",)
        if self._collector.has_files or notes:
            late = f"{self._request.shard}-{self._context.token}-{self._context.number}-{self._generation}"
            self._deliver(f"{LATE}{late}", (), notes, 0.0)


def tests_beside(plan: Plan, batch: Batch) -> tuple[str, ...]:
    """Return the planned tests of the batch's files that are in other batches."""
    files, own = {file_of_test(test) for test in batch.tests}, set(batch.tests)
    return tuple(test for test in plan.tests if file_of_test(test) in files and test not in own)


def start_options(request: ShardRequest) -> StartOptions:
    """Return the start options of the shard's workers, exactly as planned."""
    plan = request.plan
    return StartOptions(
        pytest=any(not batch.command for batch in plan.batches),
        pytest_args=plan.pytest_args,
        branch=plan.measurement.branch,
        contexts=plan.measurement.contexts,
        core=plan.measurement.core,
        checkpoint_s=request.settings.checkpoint_s,
        import_all=plan.import_all,
        settings=plan.coverage.text if plan.coverage else "",
        settings_file=plan.coverage.file if plan.coverage else "",
        left_out=reasons(plan.left_out),
    )
