"""Makes corpora of coverage data files, as the shards of a large project would leave them.

The model: a source file has lines that run at import, and functions, which are blocks of lines. A shard
imports most files; a test enters a few functions in each file that it touches and runs them up to some line.
Contexts are named as pytest-cov names them; what runs at import has the empty one.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from coverage import CoverageData
from covfleet.combine.verify import data_file

from benchmarks.combining import MANIFEST

ROOT = "/agent/project"
_IMPORTED = 0.95  # share of the files that a shard imports
_MOST_CALLS = 3  # functions that a test enters in a file
_SEED = "covfleet"


@dataclass(frozen=True)
class Shape:
    """What a corpus is like."""

    shards: int
    files: int
    contexts: int = 0  # tests in all shards together; 0: no contexts
    touched: int = 0  # files that a test touches
    branch: bool = False

    @property
    def name(self) -> str:
        """A folder's name that tells the shape."""
        kind = "branch" if self.branch else "statement"
        return f"{kind}-{self.shards}x{self.files}-{self.contexts}x{self.touched}"

    def __str__(self) -> str:
        kind = "branch" if self.branch else "statement"
        tests = f", {self.contexts:,} contexts" if self.contexts else ""
        return f"{kind}{tests}: {self.shards:,} x {self.files:,} sources"


class _Source:
    """An imagined source file: its path, what runs at import, and its functions."""

    def __init__(self, chance: random.Random, number: int) -> None:
        package = f"pkg{number // 40:03d}/sub{number // 8 % 5}"
        self.path = f"{ROOT}/src/{package}/module_{number:05d}.py"
        size = min(6000, max(12, int(chance.lognormvariate(5.4, 0.9))))
        self.top = list(range(1, min(size, chance.randint(4, 15))))
        self.functions: list[list[int]] = []
        line = self.top[-1] + 3
        while line < size:
            body = chance.randint(3, 30)
            statements = [number for number in range(line + 1, line + body) if chance.random() < 0.75]
            self.top.append(line)
            if statements:
                self.functions.append(statements)
            line += body + chance.randint(1, 3)

    def run(self, chance: random.Random, calls: int) -> list[list[int]]:
        """Return the blocks of lines that some calls execute."""
        chosen = chance.sample(self.functions, min(calls, len(self.functions)))
        return [body[: chance.randint(1, len(body))] for body in chosen]


def write_corpus(shape: Shape, below: Path) -> Path:
    """Write the corpus into a folder of its own, unless it is there; the same shape gives the same data.

    Beside the data files lies their manifest: names, sizes and hashes, as a shard's result tells them.
    """
    folder = below / shape.name
    if folder.exists():
        return folder
    unfinished = below / f"{shape.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        names = list(pool.map(partial(_write_shard, shape, unfinished), range(shape.shards)))
    files = [data_file(unfinished / name, name) for name in names]
    manifest = [{"name": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256} for file in files]
    (unfinished / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    return unfinished.rename(folder)


def _write_shard(shape: Shape, folder: Path, shard: int) -> str:
    chance = random.Random(_SEED)
    sources = [_Source(chance, number) for number in range(shape.files)]
    chance = random.Random(f"{_SEED}/{shard}")
    name = f".coverage.shard-{shard:05d}"
    data = CoverageData(str(folder / name))
    data.set_context("")
    imported = [source for source in sources if chance.random() < _IMPORTED] or sources[:1]
    start = {source.path: [source.top] for source in imported}
    if not shape.contexts:
        for source in imported:
            start[source.path] += source.run(chance, chance.randint(0, 3 * _MOST_CALLS))
    _record(data, start, branch=shape.branch)
    for test in range(shard, shape.contexts, shape.shards):
        context = f"tests/area_{test % 97:02d}/test_feature_{test // 12:05d}.py::test_case_{test:06d}|run"
        data.set_context(context)
        touched = chance.sample(imported, min(shape.touched, len(imported)))
        calls = {source: source.run(chance, chance.randint(1, _MOST_CALLS)) for source in touched}
        executed = {source.path: run or [source.top[:1]] for source, run in calls.items()}
        _record(data, executed, branch=shape.branch)
    data.write()
    data.close(force=True)
    return name


def _record(data: CoverageData, executed: Mapping[str, Iterable[Sequence[int]]], *, branch: bool) -> None:
    if branch:
        data.add_arcs({path: {arc for body in run for arc in _arcs(body)} for path, run in executed.items()})
    else:
        data.add_lines({path: {line for body in run for line in body} for path, run in executed.items()})


def _arcs(body: Sequence[int]) -> list[tuple[int, int]]:
    """Return entry, transitions and exit of a block that was executed."""
    entry = -(body[0] - 1) or -1
    return [(entry, body[0]), *pairwise(body), (body[-1], entry)]
