"""The nightly comparison: after their normal run, some batches run again under both cores for contexts.

None of this enters the build's coverage: these workers use separate folders, which are deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import islice

from covfleet.errors import PipelineError
from covfleet.model import Batch, CoresCompared
from covfleet.ports.worker import WorkerSpec
from covfleet.shard.request import ShardRequest
from covfleet.worker.client import StartOptions
from covfleet.worker.core_comparison import (
    OWN,
    STOCK,
    ComparisonStoppedError,
    CoreComparison,
    Sight,
    Trial,
    compare_until_sure,
)

_SHOWN = 20


def is_chosen(request: ShardRequest, batch: Batch) -> bool:
    """Return whether to compare the cores on this batch; the choice doesn't depend on the shard."""
    measured = request.plan.measurement
    if batch.command or not measured.contexts or measured.branch or measured.core not in (OWN, STOCK):
        return False
    digest = hashlib.sha256(f"{request.plan.commit}/{batch.id}".encode()).digest()
    return int.from_bytes(digest[:4]) % 100 < request.settings.compare_cores


def compare_cores_on(
    request: ShardRequest,
    options: StartOptions,
    spec: WorkerSpec,
    batch: Batch,
    stopped: Callable[[], bool],
) -> CoresCompared | None:
    """Run the batch under both cores; return the comparison, or ``None`` if the shard was asked to stop.

    ``spec`` says what their workers have in common. A failure is part of what is returned: the batch has its
    result already.
    """
    trial = Trial(
        request.launcher,
        options,
        spec,
        timeout_s=request.settings.batch_timeout_s,
        stopped=stopped,
    )

    def look(core: str, collect_garbage: bool) -> Sight:  # noqa: FBT001 - by position
        return trial.run(core, [batch], collect_garbage=collect_garbage)

    try:
        return _described(compare_until_sure(look))
    except ComparisonStoppedError:
        return None
    except PipelineError as error:
        said = f"the cores couldn't be compared on batch {batch.id}: {error}"
        return CoresCompared(failures=(said,))


def _described(seen: CoreComparison) -> CoresCompared:
    return CoresCompared(
        batches=1,
        pairs=seen.pairs,
        unstable=len(seen.unstable),
        missed=len(seen.missed),
        only_ours=len(seen.only_ours),
        failing=len(seen.failing),
        differences=tuple(islice(seen.differences(), _SHOWN)),
    )
