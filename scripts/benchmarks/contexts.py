"""What it costs to know which test ran which line: CPU and memory of the C tracer and of covfleet's core."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, median

from checks.cores import measured
from checks.suites import STANDARD, SUITES, prepare

CACHE = Path(__file__).parents[2] / ".cache" / "bench"
CONTENDERS = ("none", "ctrace", "monitor")
# What takes one process no more than about a minute without coverage.
PARTS = {
    "jinja2": (),
    "attrs": (),
    "click": (),
    "networkx": ("networkx/classes", "networkx/utils", "networkx/algorithms/shortest_paths"),
    "test_json": (),
    "test_asyncio": tuple(f"test.test_asyncio.test_{part}" for part in ("locks", "streams", "tasks")),
}

Figures = Mapping[str, Sequence[tuple[float, float]]]
"""For each contender, CPU seconds and MiB of each round."""


def compare_contexts(arguments: argparse.Namespace) -> None:
    """Run each suite without coverage and with both cores, in turns; print medians of the rounds' ratios."""
    asked = [arguments.python, "-c", "import platform, sys; print(platform.python_version(), sys.executable)"]
    version, executable = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
    print("| suite | Python | none: CPU s, MiB | ctrace: CPU, memory | monitor: CPU, memory |")
    print("| --- " * 5 + "|")
    ratios = []
    for name in arguments.suite or PARTS:
        prepared = prepare((SUITES | STANDARD)[name], Path(executable), CACHE / f"py{version}", quick=False)
        project = replace(prepared, paths=PARTS[name] or prepared.paths)
        figures: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for number in range(arguments.rounds):
            for core in CONTENDERS:
                folder = CACHE / f"py{version}" / "contexts" / name / core
                before = _cpu_s()
                measured(project, core, folder)
                figures[core].append((_cpu_s() - before, int((folder / "peak").read_text()) / 1024))
            said = ", ".join(f"{core} {figures[core][-1][0]:.1f} s" for core in CONTENDERS)
            print(f"{name}, round {number + 1}: {said}", file=sys.stderr, flush=True)
        cpu_s, mib = (median(round_[at] for round_ in figures["none"]) for at in (0, 1))
        cells = [f"{cpu_s:.1f}, {mib:.0f}"]
        cells += [
            f"{_ratio(figures, core, 0):.2f}x, {_ratio(figures, core, 1):.2f}x" for core in CONTENDERS[1:]
        ]
        ratios.append([_ratio(figures, core, 0) for core in CONTENDERS[1:]])
        print(f"| {name} | {version} | {' | '.join(cells)} |", flush=True)
    print(
        f"| mean | {version} | | {' | '.join(f'{mean(each):.2f}x' for each in zip(*ratios, strict=True))} |"
    )


def _ratio(figures: Figures, core: str, at: int) -> float:
    """Return the median over the rounds of a figure against that of no coverage in the same round."""
    pairs = zip(figures[core], figures["none"], strict=True)
    return median(one[at] / other[at] for one, other in pairs)


def _cpu_s() -> float:
    """Return the CPU seconds of all children that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
