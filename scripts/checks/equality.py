"""Proves that a distributed run equals a serial one: four suites, four ways of measuring, 1, 2 and 6 shards.

For each suite and mode the tests run twice serially by the stock tools and once for each number of shards by
covfleet. Lines, arcs and contexts are compared file by file; every difference is explained by the tests
themselves (see ``checks.compare``) or makes the script fail.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from covfleet.model import file_of_test

from checks.compare import Comparison, Dataset, Fact, OtherCompany, compare, named
from checks.cores import CoreRow, compare_cores, cores_table, differences
from checks.runs import MODES, Mode, Run, RunError, serial, sharded
from checks.suites import STANDARD, SUITES, Project, prepare

CACHE = Path(__file__).parent.parent.parent / ".cache" / "equality"
CORE_SUITES = SUITES | STANDARD
SERIAL_RUNS = 2
_NAMES_SHOWN = 5
_COLUMNS = (
    "suite",
    "tests",
    "mode",
    "core: serial, covfleet",
    "shards",
    "files",
    "lines",
    "arcs",
    "pairs",
    "serial runs differ",
    "order-dependent",
    "drifting",
    "unexplained",
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One sharded run against the serial ones."""

    suite: str
    mode: Mode
    shards: int
    oracle: Run
    run: Run
    comparison: Comparison
    fail_alone: tuple[str, ...]  # tests that fail or pass otherwise than serially, just as they do alone
    fail_here: tuple[str, ...]  # ... and otherwise than they do alone

    @property
    def is_equal(self) -> bool:
        """Whether the same tests ran, and every difference is explained."""
        return self.run.tests == self.oracle.tests and not self.fail_here and not self.comparison.unexplained

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        compared, found = self.comparison.compared, self.comparison
        counts = (f"{compared[kind]:,}" for kind in ("file", "line", "arc", "pair"))
        differing = map(_counted, (found.unstable, found.order_dependent, found.drifting, found.unexplained))
        cores = f"{self.oracle.core}, {self.run.core}"
        return (self.suite, self._tests(), self.mode.name, cores, str(self.shards), *counts, *differing)

    def _tests(self) -> str:
        ran, serially = (f"{len(run.tests):,}, {len(run.failed)} failed" for run in (self.run, self.oracle))
        return ran if ran == serially else f"{ran}; serially {serially}"


def _counted(facts: Sequence[tuple[str, Fact]]) -> str:
    kinds = Counter(kind for _, (kind, _, _) in facts)
    return ", ".join(f"{count:,} {kind}{'s' * (count > 1)}" for kind, count in sorted(kinds.items())) or "0"


def check(project: Project, modes: Sequence[Mode], shards: Sequence[int], folder: Path) -> Iterator[Row]:
    """Run a suite in every way, and yield what came out; ``folder`` keeps the data files.

    Raises:
        RunError: a run didn't give a result.
    """
    for mode in modes:
        home = folder / mode.name
        oracles = [
            serial(project, mode, home / f"serial-{k}", project.paths) for k in range(1, SERIAL_RUNS + 1)
        ]
        runs = {count: sharded(project, mode, count, home / f"shards-{count}") for count in shards}
        files = (*runs[shards[0]].test_files, *oracles[0].test_files)  # in the order of the plan
        others = _Others(project, mode, tuple(dict.fromkeys(files)), home)
        datasets = [others.dataset(run) for run in oracles]
        for count, run in runs.items():
            comparison = compare(others.dataset(run), datasets, others.company)
            failing = others.compare_failures(run, oracles[0])
            yield Row(project.name, mode, count, oracles[0], run, comparison, *failing)


class _Others:
    """The serial runs in other company, each made once, when it is first needed."""

    def __init__(self, project: Project, mode: Mode, test_files: tuple[str, ...], folder: Path) -> None:
        self._project = project
        self._mode = mode
        self._test_files = test_files
        self._folder = folder
        self._alone: dict[str, Run] = {}
        alone = cache(lambda test_file: self.dataset(self._run_alone(test_file)))
        self.company = OtherCompany(test_files, lambda: self._reordered, alone)

    def dataset(self, run: Run) -> Dataset:
        return Dataset(run.data_file, self._project.root, contexts=self._mode.contexts)

    def compare_failures(self, run: Run, serially: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return tests that fail or pass as they do alone, not as in the whole run; and as in neither."""
        unlike = sorted(run.failed ^ serially.failed)
        as_alone = [
            test
            for test in unlike
            if (test in self._run_alone(file_of_test(test)).failed) == (test in run.failed)
        ]
        return tuple(as_alone), tuple(test for test in unlike if test not in as_alone)

    @cached_property
    def _reordered(self) -> tuple[Dataset, Dataset]:
        planned = self._run("planned", self._test_files)
        backwards = self._run("reversed", self._test_files[::-1], "eager_gc")
        return self.dataset(planned), self.dataset(backwards)

    def _run_alone(self, test_file: str) -> Run:
        if test_file not in self._alone:
            self._alone[test_file] = self._run(f"alone-{self._test_files.index(test_file)}", (test_file,))
        return self._alone[test_file]

    def _run(self, name: str, paths: tuple[str, ...], *plugins: str) -> Run:
        return serial(self._project, self._mode, self._folder / name, paths, plugins)


def report(row: Row, path: Path, say: Say) -> None:
    """Write all differences of a row to a file, and say the first of each kind, and all unexplained ones."""
    kinds = (
        ("differs between two serial runs", row.comparison.unstable),
        ("depends on the order of the tests", row.comparison.order_dependent),
        ("belongs to other tests in every order", row.comparison.drifting),
        ("UNEXPLAINED", row.comparison.unexplained),
    )
    names = {title: [f"{title}: {named(file, fact)}" for file, fact in facts] for title, facts in kinds}
    names["fails or passes as it does alone"] = list(row.fail_alone)
    names["UNEXPLAINED"] += [
        f"NOT THE SAME TESTS: {test}" for test in sorted(row.run.tests ^ row.oracle.tests)
    ]
    names["UNEXPLAINED"] += [f"FAILS OR PASSES only here: {test}" for test in row.fail_here]
    _tell(names, path, say)


def _tell(names: Mapping[str, Sequence[str]], path: Path, say: Say) -> None:
    path.write_text("".join(f"{name}\n" for found in names.values() for name in found), "utf-8")
    for title, found in names.items():
        shown = len(found) if title == "UNEXPLAINED" else _NAMES_SHOWN
        for name in found[:shown]:
            say(f"    {name}")
        if len(found) > shown:
            say(f"    ... and {len(found) - shown:,} more: {path}")


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [_COLUMNS, ("---",) * len(_COLUMNS), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(arguments: Sequence[str]) -> int:
    """Check what the arguments say; return 0 if all is equal."""
    options = parsed(arguments)
    version = subprocess.check_output(
        [options.python, "-c", "import platform; print(platform.python_version())"], text=True
    ).strip()
    if options.cores:
        return _compare_cores(options, version)
    rows: list[Row] = []
    for name in options.suite:
        project = prepare(SUITES[name], options.python, CACHE / version, quick=options.quick)
        folder = CACHE / version / "runs" / name
        for row in check(project, [MODES[mode] for mode in options.mode], options.shards, folder):
            rows.append(row)
            _say(f"{time.strftime('%H:%M:%S')} {' | '.join(row.cells())}")
            report(row, folder / f"{row.mode.name}-{row.shards}.txt", _say)
    print(f"Python {version}\n\n{table(rows)}")
    different = [row for row in rows if not row.is_equal]
    for row in different:
        _say(f"error: {row.suite}, {row.mode.name}, {row.shards} shards: not equal to a serial run")
    return 1 if different else 0


def _compare_cores(options: argparse.Namespace, version: str) -> int:
    """Compare covfleet's own core with the C tracer; return 0 if they agree."""
    rows: list[CoreRow] = []
    for name in options.suite:
        project = prepare(CORE_SUITES[name], options.python, CACHE / version, quick=options.quick)
        rows.append(compare_cores(project, CACHE / version / "cores" / name))
        _tell(differences(rows[-1]), CACHE / version / "cores" / name / "differences.txt", _say)
    print(f"Python {version}\n\n{cores_table(rows)}")
    return 0 if all(row.unexplained.is_equal for row in rows) else 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what the arguments ask for; exits if they are wrong."""
    parser = argparse.ArgumentParser(prog="scripts/equality", description=__doc__.split("\n\n")[0])
    parser.add_argument("--suite", nargs="+", choices=CORE_SUITES, help="by default all")
    parser.add_argument("--mode", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--shards", nargs="+", type=int, default=[1, 2, 6], metavar="N")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="runs the suites")
    parser.add_argument(
        "--cores", action="store_true", help="compare covfleet's own core with the C tracer instead"
    )
    parser.add_argument("--quick", action="store_true", help="only a part of what takes minutes")
    options = parser.parse_args(arguments)
    options.suite = options.suite or list(CORE_SUITES if options.cores else SUITES)
    if not options.cores and (wrong := STANDARD.keys() & set(options.suite)):
        parser.error(f"only --cores runs on {', '.join(sorted(wrong))}")
    return options


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except RunError as failed:
        _say(f"error: {failed}")
        sys.exit(1)
