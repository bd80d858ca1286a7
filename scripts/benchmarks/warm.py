"""Reports of a commit that touches few files: with what the last commit left, beside coverage.py."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from checks.suites import Project
from coverage import CoverageData

from benchmarks.measure import Cost, middle, run
from benchmarks.reports import CACHE, DATA, check_equal, figures, opened, place, stock

_TOUCHED = 0.02  # share of the sources
_ADDED = "def added(a):\n    if a:\n        return 1\n    return 2\n"
_REPORT = """
import sys
from pathlib import Path
from covfleet.adapters.folder.store import LocalStore
from covfleet.model import Ledger
from covfleet.report.rendering import Rendering, render
from covfleet.report.cache.branch import Shelf

data, sources, out, scratch, store, folder = map(Path, sys.argv[1:])
shelf = Shelf(LocalStore(store), "main", folder, scratch, print)
with shelf.open() as (cache, _):
    render(Rendering(data, sources, out, scratch, False, "", "complete", cache=cache))
    shelf.keep(cache, Ledger("c", "b", "main", "complete", 0))
"""


def compare_warm(arguments: argparse.Namespace) -> None:
    """Report a base, then a commit on top of it, in turns with stock; exit if a byte differs."""
    print("| data | sources, touched | | CPU s (ratio) | wall s (ratio) |")
    print("| --- " * 5 + "|")
    for name in arguments.data or DATA:
        title, project, data = opened(name, arguments.python)
        home = CACHE / f"warm-{name}"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        base = replace(project, root=Path(shutil.copytree(project.root, home / "base")))
        commit = replace(project, root=Path(shutil.copytree(project.root, home / "commit")))
        touched = _touch(commit, data, home / "commit.data")
        costs: dict[str, list[Cost]] = {kind: [] for kind in (*_KINDS, "")}
        costs[_KINDS[0]].append(_report(base, data, home, home / "kept"))
        for _ in range(arguments.rounds):
            costs[""].append(stock(commit, home / "commit.data", home / "stock"))
            for kind in _KINDS[1:]:
                _give(home, "store" if kind == _KINDS[2] else "*")
                costs[kind].append(_report(commit, home / "commit.data", home, home / "now"))
                check_equal(home / "stock", home / "covfleet")
        sources = len(list((home / "covfleet" / "html").glob("z_*.html")))
        for row in _rows(f"{title} | {sources}, {touched}", {kind: middle(costs[kind]) for kind in costs}):
            print(row, flush=True)


_KINDS = (
    "covfleet, the first report",
    "covfleet, the commit's report",
    "covfleet, the same on a fresh machine",
)


def _touch(commit: Project, data: Path, changed: Path) -> int:
    """Add a function to some sources, and its first line to what ran; return how many sources it is."""
    shutil.copy(data, changed)
    with closing(CoverageData(str(changed))) as measured:
        measured.read()
        names = [name for name in sorted(measured.measured_files()) if measured.lines(name)]
        chosen = random.Random("covfleet").sample(names, max(1, round(_TOUCHED * len(names))))
        measured.set_context("")
        for name in chosen:
            path = commit.root / name
            text = path.read_text("utf-8").rstrip("\n")
            path.write_text(
                f"{text}\n\n\ndef added(a):\n    if a:\n        return 1\n    return 2\n", "utf-8"
            )
            line = text.count("\n") + 4
            if measured.has_arcs():
                measured.add_arcs({name: [(line, -1)]})
            else:
                measured.add_lines({name: [line]})
    return len(chosen)


def _give(home: Path, kept: str) -> None:
    """Let the next report find what the base has left: all of it, or only what lies in the store."""
    shutil.rmtree(home / "now", ignore_errors=True)
    (home / "now").mkdir()
    for path in (home / "kept").glob(kept):
        shutil.copytree(path, home / "now" / path.name)


def _report(project: Project, data: Path, home: Path, kept: Path) -> Cost:
    into, scratch = home / "covfleet", home / "scratch"
    for folder in (into, scratch):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    command = (sys.executable, "-P", "-c", _REPORT, data, project.root, into, scratch)
    return run(place(CACHE), (*command, kept / "store", kept / "cache"))


def _rows(title: str, costs: dict[str, Cost]) -> Iterator[str]:
    theirs = costs[""]
    for number, kind in enumerate(_KINDS):
        yield f"| {'| ' if number else title} | {kind} | {figures(costs[kind], theirs)} |"
    yield f"| | | `coverage html; xml; json; lcov; report` | {theirs.cpu_s:.1f} | {theirs.wall_s:.1f} |"
