"""How fast covfleet is beside pytest-xdist, and how much CPU it takes for itself: the tables."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from checks.suites import STANDARD, SUITES, prepare

from benchmarks.ahead import print_ahead
from benchmarks.combine import CORPORA, compare_with_stock, print_growth
from benchmarks.contenders import Race, forget, in_one_command, with_covfleet, with_xdist
from benchmarks.contexts import compare_contexts
from benchmarks.measure import Cost, middle
from benchmarks.overhead import overhead
from benchmarks.reports import DATA, compare_reports
from benchmarks.tail import compare_tails
from benchmarks.transfer import compare_transfers
from benchmarks.warm import compare_warm

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "bench"
PARTS = {"networkx": ("networkx/algorithms/tests",), "attrs": (), "jinja2": ()}
"""What two contenders run in turns: of networkx, a part of about a minute."""

LONG_PARTS = PARTS | {
    "networkx": (
        "networkx/algorithms/tests",
        "networkx/algorithms/isomorphism",
        "networkx/algorithms/connectivity",
        "networkx/generators",
        "networkx/classes",
    )
}
"""What the overhead is measured on: of networkx, a part that takes one process over two minutes."""

STAGES = ("tests", "combine", "report")


def main() -> None:
    arguments = make_parser().parse_args()
    arguments.command(arguments)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    commands = parser.add_subparsers(
        required=True, metavar="xdist|overhead|combine|ahead|growth|transfer|reports|tail|contexts"
    )
    xdist = commands.add_parser("xdist", help="two shards beside pytest -n 2 --cov")
    xdist.add_argument("--suite", action="append", choices=PARTS, help="one of them, or several")
    xdist.add_argument(
        "--no-report", action="store_true", help="else all reports are made in the first round"
    )
    xdist.set_defaults(command=compare_with_xdist)
    own = commands.add_parser("overhead", help="CPU of covfleet's own processes")
    own.add_argument("--suite", choices=PARTS, default="networkx")
    own.set_defaults(command=print_overhead)
    for command in (xdist, own):
        command.add_argument("--rounds", type=int, default=3)
        command.add_argument("--python", default="python3", help="the interpreter that runs the suites")
    _add_combine(commands)
    _add_transfer(commands)
    _add_reports(commands)
    _add_tail(commands)
    _add_contexts(commands)
    return parser


def _add_reports(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    reports = commands.add_parser("reports", help="every format, beside coverage.py's five commands")
    reports.add_argument("--data", action="append", choices=DATA, help="one of them, or several")
    reports.add_argument("--warm", action="store_true", help="of a commit that touches 2%% of the sources")
    reports.add_argument("--rounds", type=int, default=3)
    reports.add_argument("--python", default="python3", help="the interpreter that measures the suites")
    reports.set_defaults(command=lambda given: (compare_warm if given.warm else compare_reports)(given))


def _add_tail(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tail = commands.add_parser("tail", help="from the last result to all reports, on Django's suite")
    tail.add_argument("--shards", type=int, default=24, help="how many data files there are")
    tail.add_argument("--contexts", action="store_true", help="branches with contexts instead of statements")
    tail.add_argument("--rounds", type=int, default=3)
    tail.add_argument("--python", default="python3.12", help="the interpreter that runs the suite")
    tail.set_defaults(command=compare_tails)


def _add_contexts(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    contexts = commands.add_parser("contexts", help="both cores for statements with contexts, and none")
    contexts.add_argument(
        "--suite", action="append", choices=SUITES | STANDARD, help="one of them, or several"
    )
    contexts.add_argument("--rounds", type=int, default=3)
    contexts.add_argument("--python", default="python3.13", help="the interpreter that runs the suites")
    contexts.set_defaults(command=compare_contexts)


def _add_combine(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    combine = commands.add_parser("combine", help="beside coverage combine, on made corpora")
    combine.add_argument("--corpus", action="append", choices=CORPORA, help="one of them, or several")
    combine.set_defaults(command=compare_with_stock)
    ahead = commands.add_parser("ahead", help="what is left of merging when the last result arrives")
    ahead.add_argument("--corpus", action="append", choices=CORPORA, help="one of them, or several")
    ahead.add_argument("--corpora", type=Path, default=CACHE / "corpora", help="where they lie")
    ahead.set_defaults(command=print_ahead)
    growth = commands.add_parser("growth", help="the same for more and more data files and contexts")
    growth.add_argument("--sources", type=int, default=100, help="few, since stock takes minutes at the end")
    growth.add_argument("--most-shards", type=int, default=6_000)
    growth.add_argument("--most-contexts", type=int, default=100_000)
    growth.set_defaults(command=print_growth)
    for command, rounds in ((combine, 3), (growth, 1)):
        command.add_argument("--rounds", type=int, default=rounds)
        command.add_argument("--corpora", type=Path, default=CACHE / "corpora", help="where they lie")


def _add_transfer(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    transfer = commands.add_parser("transfer", help="beside aws s3 sync and s3cmd, with a SeaweedFS here")
    transfer.add_argument("--files", type=int, default=600)
    transfer.add_argument("--sources", type=int, default=1500)
    transfer.add_argument("--rounds", type=int, default=3)
    transfer.add_argument("--corpora", type=Path, default=CACHE / "corpora", help="where they lie")
    transfer.set_defaults(command=compare_transfers)


def compare_with_xdist(arguments: argparse.Namespace) -> None:
    """Run both in turns, so that what else the machine does hits both, and print medians and ratios."""
    print(f"| suite | Python | | {' s | '.join(STAGES)} s | wall s without report | CPU s without report |")
    print("| --- " * (len(STAGES) + 5) + "|")
    for name in arguments.suite or PARTS:
        race, version = _prepare(name, arguments.python)
        ours: dict[str, list[Cost]] = defaultdict(list)
        theirs: dict[str, list[Cost]] = defaultdict(list)
        whole: list[float] = []
        for number in range(arguments.rounds):
            report = number == 0 and not arguments.no_report
            forget(race)
            _add(theirs, with_xdist(race, report=report))
            forget(race)
            _add(ours, with_covfleet(race, f"round-{number}", report=report))
            forget(race)
            whole.append(in_one_command(race, f"whole-{number}"))
            _say(name, number, ours, theirs)
        for row in _rows(f"{name} | {version}", ours, theirs):
            print(row, flush=True)
        wall = f"{median(whole):.1f} ({median(whole) / _without_report(theirs).wall_s:.2f})"
        print(f"| {name} | {version} | covfleet run | | | | {wall} | |", flush=True)


def print_overhead(arguments: argparse.Namespace) -> None:
    """Run a suite with ``covfleet run`` and print whose CPU time it was."""
    race, version = _prepare(arguments.suite, arguments.python)
    race = replace(race, project=replace(race.project, paths=LONG_PARTS[arguments.suite]))
    print("| suite | Python | wall s | tests, CPU s | own processes, CPU s | share |")
    print("| --- | --- | --- | --- | --- | --- |")
    for _ in range(arguments.rounds):
        forget(race)
        found = overhead(race)
        figures = f"{found.wall_s:.1f} | {found.tests_cpu_s:.1f} | {found.own_cpu_s:.2f} | {found.share:.1%}"
        print(f"| {arguments.suite} | {version} | {figures} |", flush=True)


def _prepare(name: str, python: str) -> tuple[Race, str]:
    """Return the suite, ready to run with the interpreter, and the interpreter's version."""
    asked = [python, "-c", "import platform, sys; print(platform.python_version(), sys.executable)"]
    version, executable = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
    project = prepare(SUITES[name], Path(executable), CACHE / f"py{version}", quick=False)
    if not list(project.python.parents[1].glob("lib/*/site-packages/xdist")):
        pip = [str(project.python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "pytest-xdist"], check=True, stdout=sys.stderr)
    log = CACHE / f"{name}.log"
    covfleet = (sys.executable, "-P", "-m", "covfleet")
    return Race(replace(project, paths=PARTS[name]), covfleet, log), version


def _add(costs: dict[str, list[Cost]], stages: Mapping[str, Cost]) -> None:
    for stage, cost in stages.items():
        costs[stage].append(cost)


def _rows(
    title: str, ours: Mapping[str, Sequence[Cost]], theirs: Mapping[str, Sequence[Cost]]
) -> Iterator[str]:
    """Yield a line for each contender; the ratios are to the second one's."""
    base = _without_report(theirs)
    for name, costs in (("covfleet", ours), ("xdist", theirs)):
        stages = [f"{middle(costs[stage]).wall_s:.1f}" if stage in costs else "" for stage in STAGES]
        total = _without_report(costs)
        wall = f"{total.wall_s:.1f} ({total.wall_s / base.wall_s:.2f})"
        cpu = f"{total.cpu_s:.1f} ({total.cpu_s / base.cpu_s:.2f})"
        yield f"| {title} | {name} | {' | '.join(stages)} | {wall} | {cpu} |"


def _without_report(costs: Mapping[str, Sequence[Cost]]) -> Cost:
    """Return the median over the rounds of what all stages but the report cost together."""
    counted = [costs[stage] for stage in STAGES[:-1] if stage in costs]
    return middle([sum(round_, Cost()) for round_ in zip(*counted, strict=True)])


def _say(
    name: str, number: int, ours: Mapping[str, Sequence[Cost]], theirs: Mapping[str, Sequence[Cost]]
) -> None:
    last = (
        f"{who} {sum(costs[stage][-1].wall_s for stage in STAGES[:-1] if stage in costs):.1f} s"
        for who, costs in (("covfleet", ours), ("xdist", theirs))
    )
    print(f"{name}, round {number + 1}: {', '.join(last)}", file=sys.stderr)


if __name__ == "__main__":
    main()
