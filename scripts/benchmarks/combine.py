"""How fast data files become one, beside ``coverage combine --keep`` on the same files: CPU and memory."""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.corpus import Shape, write_corpus
from benchmarks.measure import Cost, Place, run

CORPORA = {
    "small": Shape(6, 30),
    "small-contexts": Shape(6, 30, 300, 10),
    "small-branch": Shape(6, 30, branch=True),
    "statement": Shape(600, 1500),
    "statement-contexts": Shape(20, 1500, 20_000, 150),
    "branch": Shape(60, 600, branch=True),
    "branch-contexts": Shape(10, 600, 2_000, 60, branch=True),
}
OURS = {"merge": "merge", "verified": "verified", "all-checked": "all checked here"}
"""How ``combining`` does it, and what stands above the column."""

SHARDS = (6, 60, 600, 6_000)
CONTEXTS = (0, 1_000, 20_000, 100_000)

# Every row by what it means, and none by its id; both are sorted by the same index.
_ROWS = {
    "files": "select path from file order by path",
    "contexts": "select context from context order by context",
    "kind": "select value from meta where key = 'has_arcs'",
    "tracers": "select path, tracer from tracer join file on file.id = file_id order by path",
    "lines": """
        select path, context, numbits from line_bits
        join file on file.id = file_id join context on context.id = context_id order by path, context""",
    "arcs": """
        select path, context, fromno, tono from arc join file on file.id = file_id
        join context on context.id = context_id order by path, context, fromno, tono""",
}


def compare_with_stock(arguments: argparse.Namespace) -> None:
    """Combine each corpus in turns, compare the results row by row, print medians and ratios."""
    _head("corpus")
    for name in arguments.corpus or CORPORA:
        _print_race(CORPORA[name], arguments)


def print_growth(arguments: argparse.Namespace) -> None:
    """Do the same for more and more data files, and for more and more contexts."""
    _head("growth")
    for shards in [count for count in SHARDS if count <= arguments.most_shards]:
        _print_race(Shape(shards, arguments.sources), arguments)
    for contexts in [count for count in CONTEXTS if count <= arguments.most_contexts]:
        _print_race(Shape(20, arguments.sources, contexts, 15), arguments)


def _head(title: str) -> None:
    print("CPU in seconds, and how many times less than `coverage combine --keep` takes on the same files.")
    columns = (
        "MB in",
        "rows in",
        "rows out",
        "coverage combine",
        *OURS.values(),
        "verified, s per million rows in",
    )
    print(f"| {title} | {' | '.join(columns)} | peak MB: ours, stock |")
    print("| --- " * (len(columns) + 2) + "|")


def _print_race(shape: Shape, arguments: argparse.Namespace) -> None:
    corpus = write_corpus(shape, arguments.corpora).resolve()
    costs: dict[str, list[Cost]] = {}
    for number in range(arguments.rounds):
        with tempfile.TemporaryDirectory(dir=arguments.corpora, prefix="outputs-") as folder:
            outputs = Path(folder).resolve()
            for name, command in _contenders(corpus, outputs).items():
                cost = run(_place(outputs), command)
                costs.setdefault(name, []).append(cost)
                print(f"{shape}, round {number + 1}: {name} {cost.cpu_s:.2f} s", file=sys.stderr)
            rows_out = _compare(outputs / "stock" / ".coverage", [outputs / name for name in OURS])
    size = sum(path.stat().st_size for path in corpus.glob(".coverage.*")) / 1e6
    rows_in = sum(map(_rows_in, corpus.glob(".coverage.*")))
    print(f"| {shape} | {size:,.1f} | {rows_in:,} | {rows_out:,} | {_figures(costs, rows_in)} |", flush=True)


def _contenders(corpus: Path, outputs: Path) -> Mapping[str, Sequence[str | Path]]:
    # In a folder of its own: no settings but coverage.py's defaults, no other data files.
    stock = outputs / "stock"
    stock.mkdir()
    ours = (sys.executable, "-m", "benchmarks.combining")
    data_file = f"--data-file={stock / '.coverage'}"
    commands = {"stock": (sys.executable, "-m", "coverage", "combine", "-q", "--keep", data_file, corpus)}
    return commands | {name: (*ours, name, corpus, outputs / name) for name in OURS}


def _place(folder: Path) -> Place:
    path = os.pathsep.join(str(Path(__file__).parents[at]) for at in (1, 2))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return Place(folder, {**clean, "PYTHONPATH": path}, folder / "log", frozenset({0}))


def _figures(costs: Mapping[str, Sequence[Cost]], rows_in: int) -> str:
    """Return the cells of CPU time, with how many times less than stock, and of peak memory."""
    cpu = {name: median(cost.cpu_s for cost in each) for name, each in costs.items()}
    peak = {name: max(cost.peak_mb for cost in each) for name, each in costs.items()}
    faster = [f"{cpu[name]:.2f} (**{cpu['stock'] / cpu[name]:.1f}x**)" for name in OURS]
    growth = f"{cpu['verified'] / rows_in * 1e6:.2f}"
    memory = f"{max(peak[name] for name in OURS):.0f}, {peak['stock']:.0f}"
    return " | ".join([f"{cpu['stock']:.2f}", *faster, growth, memory])


def _compare(stock: Path, others: Iterable[Path]) -> int:
    """Return how many rows of lines and arcs there are. Exits if any row differs from stock's."""
    counts = dict.fromkeys(_ROWS, 0)
    for other in others:
        with _opened(stock) as expected, _opened(other) as found:
            for name, query in _ROWS.items():
                pairs = zip(expected.execute(query), found.execute(query), strict=True)
                counts[name] = 0
                for counts[name], (theirs, ours) in enumerate(pairs, start=1):
                    if theirs != ours:
                        sys.exit(f"{other}: {name}: {ours} instead of {theirs}")
    return counts["lines"] + counts["arcs"]


def _rows_in(data_file: Path) -> int:
    with _opened(data_file) as connection:
        counts = connection.execute("select (select count(*) from line_bits) + (select count(*) from arc)")
        return int(counts.fetchone()[0])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        yield connection
