"""Collect the tests with the application's own pytest."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from covfleet.errors import ConfigurationError
from covfleet.plan.request import PlanRequest
from covfleet.ports.worker import WorkerSpec
from covfleet.settings.coverage import require_same
from covfleet.worker.client import StartOptions, WorkerClient, exploring
from covfleet.worker.events import Ready

_SETTINGS_FILES = (".coveragerc", ".coveragerc.toml", "setup.cfg", "tox.ini", "pyproject.toml")
"""Where coverage.py looks for its settings, in this order."""


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
        root = Path(request.checkout.root)
        options = within(root, exploring(settings, settings_files(root, settings.coverage_file)))
        with WorkerClient(request.launcher, spec, options) as client:
            ready = client.start(settings.batch_timeout_s)
            if ready.settings:
                require_same(ready.settings.from_file, ready.found, f"{ready.settings.file} of the image")
                for note in ready.settings.notes:
                    request.narrate(note)
            if not settings.pytest:
                return Collected(ready, ())
            suite = client.collect(settings.batch_timeout_s)
    for error in suite.errors:
        request.narrate(f"{error.id} can't be collected and will be reported as an error")
    tests = dict.fromkeys([*suite.tests, *(error.id for error in suite.errors)])
    return Collected(ready, tuple(tests), suite.imports)


def settings_files(root: Path, named: str) -> Mapping[str, str]:
    """Return the content of the checkout's files in which coverage.py's settings may stand.

    Raises:
        ConfigurationError: the file that was named isn't there.
    """
    if named and not (root / named).is_file():
        raise ConfigurationError(
            f"there is no file {named} for coverage.py's settings",
            hint="COVERAGE_RCFILE or `rcfile` in [tool.covfleet] names it, relative to the project's folder.",
        )
    names = [_inside(root, named)] if named else _SETTINGS_FILES
    return {
        name: (root / name).read_text("utf-8", errors="replace") for name in names if (root / name).is_file()
    }


def within(root: Path, options: StartOptions) -> StartOptions:
    """Return the options with the settings' file as a worker finds it, whose project may lie elsewhere."""
    return replace(options, settings_file=_inside(root, options.settings_file))


def _inside(root: Path, name: str) -> str:
    """Return the path relative to the project if it is an absolute one below it."""
    path = Path(name)
    return str(path.relative_to(root)) if path.is_absolute() and path.is_relative_to(root) else name
