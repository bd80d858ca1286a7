"""Whether covfleet's own core measures what the C tracer measures: context by context, line by line.

Each suite runs serially in one process, in one order, twice with each core. A line in a context on which the
two runs of one core disagree is the suite's own: it depends on the time, on memory addresses, on when garbage
is collected. Any other on which the cores disagree makes the script fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from coverage import CoverageData

from checks.suites import Project
from pipeline.adapters.launchers import WORKER

CORES = ("ctrace", "monitor")
RUNS = 2
_FOREIGN = ("COVERAGE_", "COVFLEET_", "PYTEST_", "PYTHONPATH", "VIRTUAL_ENV")
_PLUGINS = Path(__file__).parent / "plugins"

Pair = tuple[str, int, str]
"""File, line, context."""


@dataclass(frozen=True, slots=True)
class CoreRow:
    """What the cores saw of one suite."""

    suite: str
    contexts: int
    pairs: int
    unstable: frozenset[Pair]
    missed: frozenset[Pair]  # by covfleet's core
    only_ours: frozenset[Pair]

    @property
    def is_equal(self) -> bool:
        """Whether the cores agree on all that a core agrees on with itself."""
        return not self.missed and not self.only_ours

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        counts = (self.contexts, self.pairs, len(self.unstable), len(self.missed), len(self.only_ours))
        return (self.suite, *(f"{count:,}" for count in counts))


def measured(project: Project, core: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a suite's tests with a core ("none": without); its data files are in ``folder/done`` then.

    Raises:
        subprocess.CalledProcessError: it didn't end with its tests passed or failed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
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


def pairs_of(folder: Path) -> set[Pair]:
    """Return all lines with their contexts in the data files of a run."""
    found: set[Pair] = set()
    for path in (folder / "done").iterdir():
        data = CoverageData(str(path))
        data.read()
        for file in data.measured_files():
            lines = data.contexts_by_lineno(file)
            found.update((file, line, context) for line, contexts in lines.items() for context in contexts)
        data.close()
    return found


def compare_cores(project: Project, folder: Path) -> CoreRow:
    """Run a suite with both cores, in turns, and compare what they saw."""
    seen: dict[str, list[set[Pair]]] = {core: [] for core in CORES}
    for number in range(RUNS):
        for core in CORES:
            home = folder / f"{core}-{number}"
            ran = measured(project, core, home, "-p", "eager_gc")
            print(f"    {core}: {ran.stdout.strip().splitlines()[-1]}", file=sys.stderr, flush=True)
            seen[core].append(pairs_of(home))
    stock, own = seen["ctrace"], seen["monitor"]
    ever, always = stock[0] | stock[1], stock[0] & stock[1]
    unstable = (ever - always) | (own[0] ^ own[1])
    missed, only_ours = always - (own[0] & own[1]), (own[0] | own[1]) - ever
    contexts = len({context for _, _, context in ever})
    return CoreRow(
        project.name,
        contexts,
        len(ever),
        frozenset(unstable),
        frozenset(missed - unstable),
        frozenset(only_ours - unstable),
    )


def differences(row: CoreRow) -> Iterator[str]:
    """Yield each pair in which a run differs, as a reader would look it up."""
    for title, pairs in (
        ("UNEXPLAINED, missed", row.missed),
        ("UNEXPLAINED, only here", row.only_ours),
        ("differs between two runs of one core", row.unstable),
    ):
        yield from (
            f"{title}: {file}:{line} ({context or 'outside of tests'})"
            for file, line, context in sorted(pairs)
        )


def cores_table(rows: Sequence[CoreRow]) -> str:
    """Return the rows as a Markdown table."""
    columns = ("suite", "contexts", "line-context pairs", "unstable", "missed by monitor", "only in monitor")
    lines = [columns, ("---",) * len(columns), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
