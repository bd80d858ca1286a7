"""``covfleet doctor --measure``: run a sample of the suite without coverage, under the C tracer and our core.

The sample consists of the test files in the order of their names' hashes, as many as fit into the time, so
the same names give the same sample. Each core runs it in a separate worker, in turns.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from covfleet.errors import ConfigurationError
from covfleet.model import Batch, file_of_test
from covfleet.ports.worker import WorkerLauncher, WorkerSpec
from covfleet.settings.schema import Settings
from covfleet.worker.client import StartOptions, WorkerClient
from covfleet.worker.core_comparison import NONE, OWN, STOCK, CoreComparison, Sight, Trial, compare_until_sure
from covfleet.worker.identity import WorkerIdentity

EXPECTED = {
    (OWN, True): "1.1 to 1.5",
    (STOCK, True): "1.7 to 3.7",
    (STOCK, False): "1.6 to 2.3",
    ("sysmon", False): "1.05 to 1.35",
    ("pytrace", True): "10 or more",
    ("pytrace", False): "10 or more",
}
"""CPU time relative to that without coverage, by core and use of contexts, for most suites."""

ALONE = WorkerIdentity("", "doctor", shard=0, slot=0, number=0, count=1)
"""Who runs the sample."""

ROUNDS = 2
SHORT_S = 1.0
"""Samples with fewer CPU seconds without coverage are too short for meaningful ratios."""

_RUNS = 12
"""The total time, in multiples of the sample's time without coverage: each core costs a few, twice."""


@dataclass(frozen=True, slots=True)
class CoreCost:
    """CPU seconds of the sample's tests under a core, and their ratio to those without coverage."""

    core: str
    cpu_s: float
    overhead: float | None  # None: the sample took no measurable time


@dataclass(frozen=True, slots=True)
class SampleCosts:
    """The cost of the cores, and the comparison of what they measured."""

    files: int  # in the sample
    files_collected: int
    tests: int
    costs: tuple[CoreCost, ...]
    seen: CoreComparison

    @property
    def is_short(self) -> bool:
        """Whether the sample is too short for meaningful ratios."""
        return any(cost.core == NONE and cost.cpu_s < SHORT_S for cost in self.costs)


def expected(core: str, *, contexts: bool) -> str:
    """Return a phrase with the expected CPU time of a core; empty if it is unknown."""
    ratio = EXPECTED.get((core, contexts))
    return f"{ratio} times the CPU time without coverage" if ratio else ""


def measure(settings: Settings, launcher: WorkerLauncher, seconds: float) -> SampleCosts:
    """Run the sample under each core, and compare the cores.

    Raises:
        ConfigurationError: there is nothing to measure, or covfleet's own core can't measure here.
        WorkerError: a worker died or exceeded the time limit of a batch.
    """
    options = StartOptions(
        pytest=settings.pytest,
        pytest_args=settings.pytest_args,
        branch=False,
        contexts=True,
        core="auto",
        checkpoint_s=settings.checkpoint_s,
        import_all=settings.import_all,
    )
    timeout_s = settings.batch_timeout_s
    with tempfile.TemporaryDirectory(prefix="covfleet-doctor-") as folder:
        name = Path(folder).name
        labels = {"covfleet.build": name}
        spec = WorkerSpec(f"{name}-collect", labels, Path(folder, "collect"), ALONE.environment(settings))
        batches = _collected(launcher, options, spec, timeout_s, settings.collect_timeout_s)
        cores = WorkerSpec(name, labels, Path(folder, "cores"), ALONE.environment(settings))
        trial = Trial(launcher, options, cores, timeout_s=timeout_s)
        return _measure(trial, batches, seconds)


def sampled(tests: tuple[str, ...]) -> tuple[Batch, ...]:
    """Return a batch for each test file, in the order of the hashes of the files' names."""
    together = sorted(tests, key=file_of_test)  # sorting is stable: it keeps pytest's order within a file
    by_file = {file: tuple(ids) for file, ids in groupby(together, key=file_of_test)}
    order = sorted(by_file, key=lambda file: hashlib.sha256(file.encode()).digest())
    return tuple(Batch(file, by_file[file], 0.0) for file in order)


def _collected(
    launcher: WorkerLauncher,
    options: StartOptions,
    spec: WorkerSpec,
    timeout_s: float,
    collect_timeout_s: float,
) -> tuple[Batch, ...]:
    if not options.pytest:
        raise ConfigurationError(
            "there are no pytest tests to measure, as pytest = false",
            hint="Set pytest = true: command groups have no contexts to compare.",
        )
    spec.output_dir.mkdir()
    with WorkerClient(launcher, spec, options) as worker:
        core = worker.start(timeout_s).measurement.core
        if core != OWN:
            raise ConfigurationError(
                f"covfleet's own core can't measure here; {core} would be used",
                hint="It needs Python 3.12 or newer, coverage.py without plugins, dynamic_context and timid.",
            )
        suite = worker.collect(collect_timeout_s)
    if not suite.tests:
        raise ConfigurationError("pytest collected no tests", hint="Check pytest_args in [tool.covfleet].")
    return sampled(suite.tests)


def _measure(trial: Trial, batches: tuple[Batch, ...], seconds: float) -> SampleCosts:
    cpu_s: dict[str, list[float]] = {NONE: [], STOCK: [], OWN: []}
    first = trial.run(NONE, batches, within_s=seconds / _RUNS)
    sample = batches[: first.batches]
    cpu_s[NONE].append(first.cpu_s)

    def look(core: str, collect_garbage: bool) -> Sight:  # noqa: FBT001 - by position
        sight = trial.run(core, sample, collect_garbage=collect_garbage)
        if not collect_garbage:
            cpu_s[core].append(sight.cpu_s)
            if core == OWN and len(cpu_s[NONE]) < ROUNDS:
                cpu_s[NONE].append(trial.run(NONE, sample).cpu_s)
        return sight

    seen = compare_until_sure(look, ROUNDS)
    least = {core: min(rounds) for core, rounds in cpu_s.items()}
    return SampleCosts(
        files=len(sample),
        files_collected=len(batches),
        tests=sum(len(batch.tests) for batch in sample),
        costs=tuple(
            CoreCost(core, cpu, cpu / least[NONE] if least[NONE] > 0 else None) for core, cpu in least.items()
        ),
        seen=seen,
    )
