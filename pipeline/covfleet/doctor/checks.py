"""The checks of ``covfleet doctor``: machine, project, reports, engine, image and store.

Every probe returns a ``Check`` or raises; a failing one never stops the others. A ``Subject`` provides the
outside world, so that this module doesn't depend on Docker, S3 or git.
"""

from __future__ import annotations

import fnmatch
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from covfleet.doctor.cost import ALONE, SampleCosts, expected
from covfleet.errors import ConfigurationError, EngineError, IncompleteDataError, PipelineError, ServiceError
from covfleet.model import Checkout
from covfleet.ports.engine import ContainerEngine
from covfleet.ports.object_store import ObjectStore
from covfleet.ports.worker import WorkerLauncher, WorkerSpec
from covfleet.report.proof.record import Proof
from covfleet.settings.schema import Settings
from covfleet.text import counted
from covfleet.worker.client import WorkerClient, exploring

ENOUGH_DISK_BYTES = 2 * 1024**3
START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: ``fix`` says what to do about it; ``exit_code`` is the command's code if it failed."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    fix: str = ""
    exit_code: int = ConfigurationError.exit_code


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine's properties; ``git`` is git's version, empty without git."""

    python: str
    cores: int
    free_bytes: int
    git: str


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything to check; each part is accessed only when its turn comes."""

    machine: Callable[[], Machine]
    settings: Callable[[], Settings]
    checkout: Callable[[], Checkout]
    reports: Callable[[], Proof]
    launcher: Callable[[Settings], WorkerLauncher]
    engine: Callable[[Settings], ContainerEngine]
    store: Callable[[Settings], ObjectStore]
    probe_store: Callable[[ObjectStore], None]


def diagnose(subject: Subject) -> tuple[Check, ...]:
    """Run all checks, in the order in which a user would fix their failures."""
    checks = [*_machine(subject)]
    try:
        settings = subject.settings()
    except PipelineError as error:
        checks.append(Check("settings", "fail", str(error), error.hint))
        checks.append(_guarded("project", lambda: _project(subject, None)))
        rest = "project's Python, engine and store"
        return (*checks, Check(rest, "warn", "not checked: they depend on the settings"))
    checks.append(
        Check("settings", "ok", f"{counted(settings.shards, 'shard')}, {settings.executor}, {settings.store}")
    )
    probes: dict[str, Callable[[], Check]] = {
        "project": lambda: _project(subject, settings),
        "reports": lambda: _reports(subject),
        "project's Python": lambda: _interpreter(subject, settings),
        "engine": lambda: _engine(subject, settings),
        "base image": lambda: _base_image(subject, settings),
        "store": lambda: _store(subject, settings),
    }
    return (*checks, *(_guarded(name, probe) for name, probe in probes.items()))


def cores_check(measured: SampleCosts) -> Check:
    """Judge the comparison of the cores for contexts: ours must not miss anything or make tests fail."""
    name, seen = "cores for contexts", measured.seen
    what = f"{counted(seen.pairs, 'pair')} of line and context"
    if seen.is_equal:
        return Check(name, "ok", f"the C tracer and covfleet's core agree on {what}")
    found = {
        f"misses {len(seen.missed):,}": seen.missed,
        f"sees {len(seen.only_ours):,} that the C tracer doesn't": seen.only_ours,
        f"makes {counted(len(seen.failing), 'test')} fail": seen.failing,
    }
    said = ", ".join(text for text, differing in found.items() if differing)
    detail = f"covfleet's core {said}, of {what} and {counted(measured.tests, 'test')}"
    if not seen.missed and not seen.failing:
        return Check(name, "warn", detail, "The C tracer loses lines, too: check whether these can run.")
    fix = 'Set core = "ctrace" in [tool.covfleet], and report this as a bug in covfleet.'
    return Check(name, "fail", detail, fix, IncompleteDataError.exit_code)


def exit_code(checks: Sequence[Check]) -> int:
    """Return 0, or the smallest exit code of a failed check: faults on our side come first."""
    return min((check.exit_code for check in checks if check.status == "fail"), default=0)


def _guarded(name: str, probe: Callable[[], Check]) -> Check:
    try:
        return probe()
    except PipelineError as error:
        code = ServiceError.exit_code if isinstance(error, ServiceError) else ConfigurationError.exit_code
        return Check(name, "fail", str(error), error.hint, code)
    except Exception as error:  # a bug in one probe must not hide what the others find
        return Check(name, "fail", f"{type(error).__name__}: {error}", "Report this as a bug in covfleet.", 1)


def _machine(subject: Subject) -> Iterator[Check]:
    machine = subject.machine()
    yield Check("Python", "ok", f"{machine.python} runs covfleet")
    yield Check("cores", "ok" if machine.cores > 1 else "warn", counted(machine.cores, "core"))
    disk = Check("disk", "ok", f"{machine.free_bytes / 1024**3:.1f} GiB free")
    if machine.free_bytes < ENOUGH_DISK_BYTES:
        disk = replace(
            disk,
            status="warn",
            fix="Free some space: covfleet keeps data, sources and reports of every build.",
        )
    yield disk
    if machine.git:
        yield Check("git", "ok", machine.git)
    else:
        yield Check(
            "git",
            "warn",
            "git isn't installed",
            "Install it; without git, a hash of all files names the commit.",
        )


def _project(subject: Subject, settings: Settings | None) -> Check:
    checkout = subject.checkout()
    detail = (
        f"{checkout.root}, {counted(len(checkout.files), 'file')}, {checkout.branch} {checkout.commit[:12]}"
    )
    if settings is not None and (settings.groups or settings.pytest_args):
        return Check("project", "ok", detail)
    tests = [
        path
        for path in checkout.files
        if fnmatch.fnmatch(path.rpartition("/")[2], "test_*.py") or path.endswith("_test.py")
    ]
    if not tests:
        fix = "Set pytest_args in [tool.covfleet], or add a command group for another test runner."
        return Check("project", "warn", f"{detail}; no file is named test_*.py or *_test.py", fix)
    return Check("project", "ok", f"{detail}, {counted(len(tests), 'test file')}")


def _reports(subject: Subject) -> Check:
    try:
        proof = subject.reports()
    except ConfigurationError as error:  # a build reads the settings with the tests' own Python
        return Check("reports", "warn", f"not checked: {error}", error.hint)
    if proof.holds:
        return Check("reports", "ok", proof.detail)
    fix = (
        "They are right all the same. To have them fast, install another release of coverage beside "
        "covfleet, such as the one that its constraints.txt names."
    )
    return Check("reports", "warn", proof.detail, fix)


def _interpreter(subject: Subject, settings: Settings) -> Check:
    """Start a worker as a shard would, and let it report its environment."""
    name = "project's Python"
    if settings.executor == "docker":
        return Check(name, "ok", "the image's own; checked when the tests are planned")
    with tempfile.TemporaryDirectory(prefix="covfleet-doctor-") as folder:
        launcher = subject.launcher(settings)
        spec = WorkerSpec("covfleet-doctor", {}, Path(folder), ALONE.environment(settings))
        with WorkerClient(launcher, spec, exploring(settings)) as worker:
            ready = worker.start(START_TIMEOUT_S)
    found = ready.environment
    pytest = f"pytest {found.pytest}" if found.pytest else "no pytest"
    measurement = ready.measurement
    cost = expected(measurement.core, contexts=measurement.contexts)
    detail = f"{found.python}, {pytest}, coverage {found.coverage} ({measurement.core}"
    detail = f"{detail}: expect {cost})" if cost else f"{detail})"
    check = Check(name, "ok", f"{detail}; {launcher.interpreter}")
    if ready.measurement.core == "pytrace" and settings.core != "pytrace":
        fix = "Install coverage from a binary wheel or with a compiler: without its C tracer it is slow."
        return replace(check, status="warn", fix=fix)
    return check


def _engine(subject: Subject, settings: Settings) -> Check:
    if settings.executor != "docker":
        return Check("engine", "ok", "not needed: shards are plain processes")
    return Check("engine", "ok", f"Docker {subject.engine(settings).ping()}")


def _base_image(subject: Subject, settings: Settings) -> Check:
    if settings.executor != "docker":
        return Check("base image", "ok", "not needed: shards are plain processes")
    if settings.image.dockerfile is not None:
        return Check("base image", "ok", f"set in {settings.image.dockerfile}")
    try:
        found = subject.engine(settings).find_image(settings.image.base)
    except EngineError:
        return Check("base image", "warn", "not checked: the engine doesn't answer")
    if found is None:
        fix = f"docker pull {settings.image.base}, or set base in [tool.covfleet.image] to a local image."
        return Check("base image", "warn", f"{settings.image.base} isn't here; the build will pull it", fix)
    return Check("base image", "ok", f"{settings.image.base}, {found.digest[:19]}")


def _store(subject: Subject, settings: Settings) -> Check:
    store = subject.store(settings)
    subject.probe_store(store)
    return Check("store", "ok", f"{store.url}: writes, reads and conditional puts work")
