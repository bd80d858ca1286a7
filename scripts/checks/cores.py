"""Whether covfleet's own core measures what the C tracer measures: context by context, line by line.

Each suite runs serially in one process, in one order, twice with each core, and once more where they seem to
differ. A line in a context on which the runs of one core disagree is the suite's own: it depends on the time,
on memory addresses, on when garbage is collected. In a suite that races with sockets and processes some such
lines fall on one side by chance; so the tests concerned run alone, again and again, every second time with
threads that take turns much more often, until each line has been seen to come and go. Any other on which the
cores disagree makes it fail, and so does a test that fails under covfleet's core only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from covfleet.adapters.processes.launchers import WORKER
from covfleet.worker.core_comparison import (
    OWN,
    STOCK,
    CoreComparison,
    Pair,
    Sight,
    compare_until_sure,
    named,
    pairs_in,
)

from checks.suites import Project

RUNS = 2
MOST_TRIES = 12
"""How often the tests run alone on which the cores differ."""

_FOREIGN = ("COVERAGE_", "COVFLEET_", "PYTEST_", "PYTHONPATH", "VIRTUAL_ENV")
_PLUGINS = Path(__file__).parent / "plugins"


@dataclass(frozen=True, slots=True)
class CoreRow:
    """What the cores saw of one suite."""

    suite: str
    seen: CoreComparison
    racy: frozenset[Pair]  # what differed, and comes and goes when the tests concerned run alone

    @property
    def unexplained(self) -> CoreComparison:
        """What the cores saw, without what comes and goes."""
        seen = self.seen
        return replace(seen, missed=seen.missed - self.racy, only_ours=seen.only_ours - self.racy)

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        left = self.unexplained
        sets = (left.unstable, self.racy, left.missed, left.only_ours, left.failing)
        return (self.suite, *(f"{count:,}" for count in (left.contexts, left.pairs, *map(len, sets))))


def measured(
    project: Project, core: str, folder: Path, *options: str, only: Set[str] = frozenset()
) -> subprocess.CompletedProcess[str]:
    """Run a suite's tests with a core ("none": without); its data files are in ``folder/done`` then.

    ``only`` names tests by their ids, which run with those right before them; without it all run.

    Raises:
        subprocess.CalledProcessError: it didn't end with its tests passed or failed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    (folder / "only").write_text("\n".join(sorted(only)), "utf-8")
    environment = {
        "PYTHONPATH": str(_PLUGINS),
        "PYTHONHASHSEED": "0",
        "CONTEXTS_CORE": core,
        "CONTEXTS_WORKER": str(WORKER),
        "CONTEXTS_FOLDER": str(folder),
    }
    pytest = (str(project.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "contexts")
    command = [*pytest, *options, *project.options, *project.paths]
    ran = subprocess.run(
        command, cwd=project.root, env=kept | environment, capture_output=True, text=True, check=False
    )
    if ran.returncode not in (0, 1):
        raise subprocess.CalledProcessError(ran.returncode, command, ran.stdout, ran.stderr)
    return ran


def compare_cores(project: Project, folder: Path) -> CoreRow:
    """Run a suite with both cores, in turns, compare what they saw, and look again at what differs."""
    seen = seen_by_cores(project, folder)
    if not seen.missed and not seen.only_ours:
        return CoreRow(project.name, seen, frozenset())
    concerned = {context.rpartition("|")[0] for _, _, context in seen.missed | seen.only_ours}

    def look_again(core: str, number: int) -> Set[Pair]:
        options = ("-p", "eager_switch") if number % 2 else ()
        return _look(project, core, folder, *options, only=concerned).pairs

    return CoreRow(project.name, seen, racy(seen, look_again))


def seen_by_cores(project: Project, folder: Path) -> CoreComparison:
    """Run a suite with both cores, in turns, until it is sure on what they differ."""
    return compare_until_sure(lambda core, _collect_garbage: _look(project, core, folder), RUNS)


def _look(project: Project, core: str, folder: Path, *options: str, only: Set[str] = frozenset()) -> Sight:
    ran = measured(project, core, folder / core, "-p", "eager_gc", *options, only=only)
    print(f"    {core}: {ran.stdout.strip().splitlines()[-1]}", file=sys.stderr, flush=True)
    failed = (folder / core / "failed").read_text("utf-8").splitlines()
    return Sight(pairs_in(folder / core / "done"), set(failed))


def racy(seen: CoreComparison, look: Callable[[str, int], Set[Pair]]) -> frozenset[Pair]:
    """Look again, with both cores in turns, until everything that differed has been seen to come and go.

    ``look`` is given a core and how often both have looked before.

    Returns:
        What has: the core that didn't see it does, or the one that did sees it in some of these runs only.
    """
    looks: dict[str, list[Set[Pair]]] = {STOCK: [], OWN: []}
    found: set[Pair] = set()
    for number in range(MOST_TRIES):
        for core, runs in looks.items():
            runs.append(look(core, number))
        found = {pair for pair in seen.missed if _comes_and_goes(pair, looks[STOCK], looks[OWN])}
        found |= {pair for pair in seen.only_ours if _comes_and_goes(pair, looks[OWN], looks[STOCK])}
        if len(found) == len(seen.missed) + len(seen.only_ours):
            break
    return frozenset(found)


def _comes_and_goes(pair: Pair, one: Sequence[Set[Pair]], other: Sequence[Set[Pair]]) -> bool:
    times = sum(pair in run for run in one)
    return 0 < times < len(one) or any(pair in run for run in other)


def differences(row: CoreRow) -> dict[str, list[str]]:
    """Return the pairs in which runs differ, as a reader would look them up, by what they are."""
    kinds = {
        "differs between two runs of one core": row.seen.unstable,
        "comes and goes when its test runs alone": row.racy,
    }
    names = {title: [f"{title}: {named(pair)}" for pair in sorted(pairs)] for title, pairs in kinds.items()}
    return names | {"UNEXPLAINED": [f"UNEXPLAINED: {text}" for text in row.unexplained.differences()]}


def cores_table(rows: Sequence[CoreRow]) -> str:
    """Return the rows as a Markdown table."""
    counted = ("contexts", "line-context pairs", "unstable", "racy", f"missed by {OWN}", f"only in {OWN}")
    columns = ("suite", *counted, f"fail under {OWN} only")
    lines = [columns, ("---",) * len(columns), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
