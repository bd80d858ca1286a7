"""Whether covfleet's own core measures what the C tracer measures: context by context, line by line.

Each suite runs serially in one process, in one order, twice with each core, and once more where they seem to
differ. A line in a context on which the runs of one core disagree is the suite's own: it depends on the time,
on memory addresses, on when garbage is collected. Any other on which the cores disagree makes it fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from checks.suites import Project
from pipeline.adapters.launchers import WORKER
from pipeline.cores import Comparison, Pair, compare_until_sure, named, pairs_in

RUNS = 2
_FOREIGN = ("COVERAGE_", "COVFLEET_", "PYTEST_", "PYTHONPATH", "VIRTUAL_ENV")
_PLUGINS = Path(__file__).parent / "plugins"


@dataclass(frozen=True, slots=True)
class CoreRow:
    """What the cores saw of one suite."""

    suite: str
    seen: Comparison

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        seen = self.seen
        counts = (seen.contexts, seen.pairs, len(seen.unstable), len(seen.missed), len(seen.only_ours))
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


def compare_cores(project: Project, folder: Path) -> CoreRow:
    """Run a suite with both cores, in turns, and compare what they saw."""

    def look(core: str, _collect_garbage: bool) -> set[Pair]:  # noqa: FBT001 - it always is
        ran = measured(project, core, folder / core, "-p", "eager_gc")
        print(f"    {core}: {ran.stdout.strip().splitlines()[-1]}", file=sys.stderr, flush=True)
        return pairs_in(folder / core / "done")

    return CoreRow(project.name, compare_until_sure(look, RUNS))


def differences(row: CoreRow) -> Iterator[str]:
    """Yield each pair in which a run differs, as a reader would look it up."""
    yield from (f"UNEXPLAINED, {difference}" for difference in row.seen.differences())
    unstable = sorted(row.seen.unstable)
    yield from (f"differs between two runs of one core: {named(pair)}" for pair in unstable)


def cores_table(rows: Sequence[CoreRow]) -> str:
    """Return the rows as a Markdown table."""
    columns = ("suite", "contexts", "line-context pairs", "unstable", "missed by monitor", "only in monitor")
    lines = [columns, ("---",) * len(columns), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
