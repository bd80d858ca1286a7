"""The stage ``plan``: collect, cut, deal, and store the plan."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from covfleet.errors import ConfigurationError
from covfleet.model import Plan, SourceFile
from covfleet.plan.collect import collect
from covfleet.plan.cutting import (
    cut,
    deal,
    expected_durations,
    group_batch,
    number,
    wanted_batch_s,
    with_imports,
)
from covfleet.plan.request import PlanRequest
from covfleet.store.sources import manifest, pack
from covfleet.store.timings import read_timings
from covfleet.store.transfer import probe_conditions
from covfleet.text import counted, listed


def plan_build(request: PlanRequest) -> Plan:
    """Collect, cut and deal the tests, store the plan with the sources, and return the stored plan.

    A build that has a plan keeps it: planning again changes nothing.

    Raises:
        ConfigurationError: there are no tests, or pytest or coverage is missing or too old.
        StoreError: the store failed, or ignores conditional puts, which claims depend on.
        WorkerError: the tests can't be collected.
    """
    planned = request.build.find_plan()
    if planned is not None:
        request.narrate(f"build {planned.build} already has a plan; it stays unchanged")
        return planned
    probe_conditions(request.build.store)
    plan, generated = _make(request)
    with tempfile.TemporaryDirectory(prefix="covfleet-") as folder:
        archive = Path(folder, "sources.tar.zst")
        pack(Path(request.checkout.root), plan.sources, archive, generated)
        return request.build.keep_plan(plan, archive)


def make_plan(request: PlanRequest) -> Plan:
    """Return a new plan without storing it."""
    return _make(request)[0]


def _make(request: PlanRequest) -> tuple[Plan, Mapping[str, bytes]]:
    """Return a new plan, and the contents of those of its sources that aren't in the checkout's list."""
    settings, checkout = request.settings, request.checkout
    tracked = source_files(request)
    collected = collect(request, [source.path for source in tracked])
    if not collected.tests and not settings.groups:
        raise ConfigurationError(
            f"pytest collected no tests in {checkout.root}",
            hint="Add the tests' folder to `pytest_args`, name another project with --project DIR, or set "
            "`pytest = false` and add a command group.",
        )
    known = read_timings(request.build.store, checkout.branch, request.narrate)
    timings = expected_durations(collected.tests, known)
    groups = [group_batch(group, known) for group in settings.groups]
    tests = cut(collected.tests, timings, wanted_batch_s(timings, settings), settings.unit)
    batches = number([*groups, *with_imports(tests, collected.imports)])
    plan = Plan(
        commit=checkout.commit,
        build=request.build.name,
        branch=checkout.branch,
        created_at=request.clock.now().isoformat(timespec="milliseconds"),
        executor=settings.executor,
        image=request.image.reference if request.image else "",
        environment=collected.ready.environment,
        measurement=collected.ready.measurement,
        pytest_args=settings.pytest_args,
        sources=_with_generated(request, tracked, collected.generated),
        batches=batches,
        deals=deal(batches, settings.shards),
        import_all=settings.import_all,
        coverage=collected.ready.settings,
        left_out=collected.left_out,
        scope=collected.scope,
    )
    return plan, collected.generated


def _with_generated(
    request: PlanRequest, tracked: tuple[SourceFile, ...], generated: Mapping[str, bytes]
) -> tuple[SourceFile, ...]:
    """Return all sources, sorted, and say which are taken along though they aren't in the checkout's list."""
    if generated:
        files = counted(len(generated), "file")
        request.narrate(
            f"{files} that git doesn't list, but coverage.py measures: {listed(sorted(generated))}"
        )
    added = (SourceFile(path, hashlib.sha256(data).hexdigest()) for path, data in generated.items())
    return tuple(sorted((*tracked, *added), key=lambda source: source.path))


def source_files(request: PlanRequest) -> tuple[SourceFile, ...]:
    """Return the project's files, including those that the setting ``sources`` adds, with their hashes."""
    root = Path(request.checkout.root)
    added = {
        path.relative_to(root).as_posix()
        for pattern in request.settings.sources
        for path in root.glob(pattern)
        if path.is_file()
    }
    return manifest(root, sorted({*request.checkout.files, *added}))
