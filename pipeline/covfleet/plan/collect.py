"""Collect the tests with the application's own pytest: all of them, or none.

A file that kills or blocks the collecting process becomes an error of its own, and another process collects
the rest. What a process had found before it died doesn't count.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from covfleet.errors import ConfigurationError, WorkerKilledError
from covfleet.model import TestOutcome
from covfleet.model.scope import Scope
from covfleet.plan.request import PlanRequest
from covfleet.ports.worker import WorkerSpec
from covfleet.settings.coverage import require_same
from covfleet.settings.schema import Settings
from covfleet.text import counted, one_line
from covfleet.worker.client import CollectionCutError, StartOptions, WorkerClient, exploring
from covfleet.worker.events import Ready
from covfleet.worker.identity import beside

MOST_LEFT_OUT = 10
"""How many files may end the collecting process before it is taken for a fault that they share."""

_DEATHS = 2
"""How often the process must die in a file before the file is blamed: the first may come from outside."""

_MOST_TRIES = 3 * MOST_LEFT_OUT

_SETTINGS_FILES = (".coveragerc", ".coveragerc.toml", "setup.cfg", "tox.ini", "pyproject.toml", "pytest.ini")
"""Where coverage.py looks for its settings; and pytest, whose arguments may name another file."""

_COV_CONFIG = re.compile(r"--cov-config[\s=\"',]+([^\s\"',]+)")


@dataclass(frozen=True, slots=True)
class Collected:
    """The application's environment, and the tests in the order of pytest's collection."""

    ready: Ready
    tests: tuple[str, ...]
    imports: tuple[str, ...] = ()  # test files without a test to run
    left_out: tuple[TestOutcome, ...] = ()  # files among the tests that no worker may import
    scope: Scope = field(default_factory=Scope)
    generated: Mapping[str, bytes] = field(default_factory=dict)  # measured, but not in the checkout


def collect(request: PlanRequest, known: Sequence[str]) -> Collected:
    """Collect the test ids with the application's own pytest; an uncollectable file counts as a test.

    Such a file then fails in its shard under its own name, while everything else runs. ``known`` are the
    project's files; what coverage.py measures beside them comes along with its content.

    Raises:
        ConfigurationError: the tests can't be collected, and it isn't the fault of a few files.
        WorkerError: no worker can be started.
    """
    deaths: Counter[str] = Counter()
    left_out: dict[str, TestOutcome] = {}
    for _ in range(_MOST_TRIES):
        try:
            return _collect_once(request, known, tuple(left_out.values()))
        except CollectionCutError as error:
            cut = error
        deaths[cut.file] += 1
        if not cut.timed_out and deaths[cut.file] < _DEATHS:
            request.narrate(f"{one_line(str(cut).partition(';')[0])}; collecting everything once more")
        elif not cut.file or cut.file in left_out:
            raise cut
        else:
            left_out[cut.file] = outcome = _outcome(cut)
            request.narrate(f"{cut.file} {outcome.message}; it is left out and will be reported as an error")
        if len(left_out) > MOST_LEFT_OUT:
            break
    raise ConfigurationError(
        f"{counted(len(deaths), 'file')} ended or stopped the process that collected the tests: "
        + ", ".join(sorted(filter(None, deaths))),
        hint="So many hint at something that they share: does `python -m pytest --collect-only` work there?",
    )


def _outcome(cut: CollectionCutError) -> TestOutcome:
    """Return what becomes of a file that cut the collection off."""
    if cut.timed_out:
        return TestOutcome(cut.file, "error", 0.0, f"couldn't be collected: {cut.how}", "")
    how = cut.how.partition(";")[0]  # the rest is what it said last
    return TestOutcome(cut.file, "error", 0.0, f"couldn't be collected: {how}, {_DEATHS} times", cut.output)


def _collect_once(request: PlanRequest, known: Sequence[str], left_out: tuple[TestOutcome, ...]) -> Collected:
    settings = request.settings
    labels = {"covfleet.build": request.build.name, "covfleet.commit": request.build.commit}
    identity = beside(request.build.commit, request.build.name, settings.shards, settings)
    with tempfile.TemporaryDirectory(prefix="covfleet-") as folder:
        name = f"covfleet-{request.build.name}-plan"
        spec = WorkerSpec(name, labels, Path(folder), identity.environment(settings))
        root = Path(request.checkout.root)
        files = settings_files(root, settings)
        options = within(root, exploring(settings, files, left_out))
        with WorkerClient(request.launcher, spec, options) as client:
            try:
                ready = client.start(settings.batch_timeout_s)
            except WorkerKilledError as killed:
                raise CollectionCutError("", f"{killed}") from killed
            if ready.settings:
                require_same(ready.settings.from_file, ready.found, f"{ready.settings.file} of the image")
                for note in ready.settings.notes:
                    request.narrate(note)
            if not settings.pytest:
                selected = client.select(known, settings.batch_timeout_s)
                return Collected(ready, (), scope=selected.scope, generated=selected.generated)
            suite = client.collect(settings.collect_timeout_s)
            selected = client.select(known, settings.batch_timeout_s)
    for note in suite.notes:
        request.narrate(f"note: {note}")
    named = {error.id for error in left_out}
    for error in suite.errors:
        if error.id not in named:
            request.narrate(f"{error.id} {error.message}; it will be reported as an error")
    tests = dict.fromkeys([*suite.tests, *(error.id for error in (*suite.errors, *left_out))])
    return Collected(ready, tuple(tests), suite.imports, left_out, selected.scope, selected.generated)


def settings_files(root: Path, settings: Settings) -> Mapping[str, str]:
    """Return the content of the checkout's files in which coverage.py's settings may stand.

    Nothing outside the project is read: the tests see what is returned.

    Raises:
        ConfigurationError: the file that was named isn't there.
    """
    named = settings.coverage_file
    if named and not (root / named).is_file():
        raise ConfigurationError(
            f"there is no file {named} for coverage.py's settings",
            hint="COVERAGE_RCFILE or `rcfile` in [tool.covfleet] names it, relative to the project's folder.",
        )
    found = _contents(root, _SETTINGS_FILES)
    words = (*found.values(), *settings.pytest_args, *settings.env.values())
    more = {_inside(root, named), *(name for text in words for name in _COV_CONFIG.findall(text))}
    return found | _contents(root, sorted(more))


def _contents(root: Path, names: Iterable[str]) -> dict[str, str]:
    inside = (name for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts)
    paths = ((name, (root / name).resolve()) for name in inside)
    return {
        name: path.read_text("utf-8", errors="replace")
        for name, path in paths
        if path.is_relative_to(root.resolve()) and path.is_file()
    }


def within(root: Path, options: StartOptions) -> StartOptions:
    """Return the options with the settings' file as a worker finds it, whose project may lie elsewhere."""
    return replace(options, settings_file=_inside(root, options.settings_file))


def _inside(root: Path, name: str) -> str:
    """Return the path relative to the project if it is an absolute one below it."""
    path = Path(name)
    return str(path.relative_to(root)) if path.is_absolute() and path.is_relative_to(root) else name
