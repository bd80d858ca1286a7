"""Two ways to one coverage result on two cores: covfleet stage by stage, and pytest-xdist with pytest-cov."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from checks.suites import Project

from benchmarks.measure import Cost, Place, run

CORES = 2
_FOREIGN = ("COVERAGE_", "COVFLEET_", "PYTEST_", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
_TESTS_FAILED = frozenset({0, 1, 3})  # pytest's and covfleet's status for it

_STOCK_REPORTS = """
import coverage
cov = coverage.Coverage()
cov.load()
cov.report(file=open("coverage.txt", "w"), ignore_errors=True)
for write in (cov.html_report, cov.xml_report, cov.json_report, cov.lcov_report):
    write(ignore_errors=True)
"""


@dataclass(frozen=True)
class Race:
    """A suite, and the commands of this covfleet."""

    project: Project
    covfleet: tuple[str | Path, ...]
    log: Path

    @property
    def tests(self) -> tuple[str, ...]:
        """The arguments that both give to pytest."""
        return (*self.project.options, *self.project.paths)

    @property
    def place(self) -> Place:
        """The project's folder, with an environment of which neither knows more."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        return Place(self.project.root, {**clean, "PYTHONHASHSEED": "0"}, self.log, _TESTS_FAILED)


def with_covfleet(race: Race, build: str, *, report: bool) -> dict[str, Cost]:
    """Run each stage as a command of its own, as a pipeline does; return what each cost.

    The shards come up while the build is planned, and wait for it.
    """
    project, place = race.project, race.place
    which = ("--project", project.root, "--commit", "bench", "--build", build)
    how = ("--shards", str(CORES), "--python", project.python, "--branch-coverage")

    def covfleet(stage: str, *arguments: str | Path) -> tuple[str | Path, ...]:
        return (*race.covfleet, stage, *arguments, *which)

    plan = (*covfleet("plan"), *how, "--", *race.tests)
    waiting = ("--python", project.python, "--wait", "600")
    shards = [(*covfleet("shard", str(k)), *waiting) for k in range(1, CORES + 1)]
    stages = {
        "tests": run(place, plan, *shards),
        "combine": run(place, covfleet("combine")),
    }
    return stages | ({"report": run(place, covfleet("report"))} if report else {})


def in_one_command(race: Race, build: str) -> float:
    """Run ``covfleet run``; return the seconds until the combined data file is in the store."""
    project, place = race.project, race.place
    which = ("--project", project.root, "--commit", "bench", "--build", build, "--python", project.python)
    began = time.time()
    how = ("--shards", str(CORES), "--branch-coverage")
    run(place, (*race.covfleet, "run", *which, *how, "--", *race.tests))
    return (project.root / ".covfleet" / "store" / "bench" / ".coverage").stat().st_mtime - began


def with_xdist(race: Race, *, report: bool) -> dict[str, Cost]:
    """Run pytest-xdist with pytest-cov, which combines at its end; then coverage.py's reports, if wanted."""
    project, place = race.project, race.place
    pytest = (project.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(CORES))
    measured = ("--cov", "--cov-branch", "--cov-report=")
    stages = {"tests": run(place, (*pytest, *measured, *race.tests))}
    return stages | ({"report": run(place, (project.python, "-c", _STOCK_REPORTS))} if report else {})


def forget(race: Race) -> None:
    """Remove what earlier runs left: timings, by which covfleet would know more than xdist; caches; data."""
    root = race.project.root
    folders = [root / ".covfleet", root / ".hypothesis", *root.rglob("__pycache__")]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for left in root.glob(".coverage*"):
        if left.is_file() and left.name != ".coveragerc":
            left.unlink()
