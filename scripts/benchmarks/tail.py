"""The tail of a build: from its last result in the store to all reports, beside stock coverage.py's commands.

A combiner follows the build, as in the pipeline; all results but one are there, and merged, and the reports
were rehearsed with them. Then the last one is written, and the clock starts; it stops when ``covfleet
report``, a process of its own, has written every format, and once more when that has put them into the store,
too. Stock coverage.py can only begin at that moment:
``coverage combine`` and its five reports.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from coverage import CoverageData
from covfleet.adapters.folder.store import LocalStore
from covfleet.combine.same import same_data
from covfleet.combine.verify import data_file
from covfleet.model import Batch, BatchResult, Measurement, TestOutcome
from covfleet.store.encoding import to_json
from covfleet.store.keys import CommitKeys
from covfleet.store.sources import manifest, pack

from benchmarks import django
from benchmarks.measure import Cost, CpuTimes, Place, cpu_times, middle, run
from benchmarks.plans import planned
from benchmarks.reports import contents

CACHE = Path(__file__).parents[2] / ".cache" / "bench" / "tail"
BUILD = "1"
TOUCHED = 0.02  # of the sources differ between the base build's commit and the next one
FORMATS = ("xml", "json", "lcov")
_STOCK_DATA = CACHE / "stock.coverage"
_COVFLEET = (sys.executable, "-P", "-m", "covfleet")
_QUIET_S = 1.5
_LONGEST_S = 300.0


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: its sources, and the data files that its shards deliver, the last one last."""

    name: str
    root: Path
    data_files: tuple[Path, ...]
    contexts: bool
    agent_root: str = ""  # where the shards had the project, if they measured absolute paths


@dataclass(frozen=True, slots=True)
class Tail:
    """What was left to do after the last result, and what the combiner had done until then."""

    written_s: float  # until all reports lay on this machine
    after: Cost  # until they lay in the store, too
    before_cpu_s: float  # of the combiner, its start included
    rehearsals_cpu_s: float
    combine: Cost  # the combiner's part of ``after``


def compare_tails(arguments: argparse.Namespace) -> None:
    """Let both go through the end of a build, in turns; print medians and ratios. Exits if results differ."""
    python = Path(shutil.which(arguments.python) or sys.executable)
    corpus = django.prepare(python=python, shards=arguments.shards, contexts=arguments.contexts)
    base = Commit("base", corpus.root, corpus.data_files, arguments.contexts)
    head = _next_commit(base)
    left = _left_by(base)
    ours: dict[str, list[Tail]] = {"cold": [], "warm, fresh agent": [], "warm, same agent": []}
    theirs: list[Cost] = []
    for number in range(arguments.rounds):
        theirs.append(_stock(head, CACHE / "stock"))
        for name, tails in ours.items():
            tails.append(_covfleet(head, name, left))
            _check(CACHE / "stock", CACHE / "agent")
        last = ", ".join(f"{name} {tails[-1].after.wall_s:.1f} s" for name, tails in ours.items())
        print(f"round {number + 1}: stock {theirs[-1].wall_s:.1f} s, {last}", file=sys.stderr, flush=True)
    kind = "branches and contexts" if arguments.contexts else "statements"
    print(*_rows(f"Django, {kind}, {len(head.data_files)} data files", ours, theirs), sep="\n")


def _next_commit(base: Commit) -> Commit:
    """Return a commit that adds a function to some of the sources, which the last shard runs."""
    root, data = CACHE / "head", CACHE / "head-data"
    for folder in (root, data):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base.root, root, ignore=shutil.ignore_patterns(".covfleet", "__pycache__", ".venv"))
    shutil.copytree(base.data_files[0].parent, data, ignore=shutil.ignore_patterns("*.log"))
    files = tuple(data / path.name for path in base.data_files)
    measured = measured_in(files)
    touched = measured[:: round(1 / TOUCHED)]
    added: dict[str, list[int]] = {}
    for name in touched:
        path = root / name
        lines = path.read_text("utf-8").splitlines()
        text = "\n".join([*lines, "", "", "def added_by_this_commit(value):", "    return value", ""])
        path.write_text(text, "utf-8")
        added[name] = [len(lines) + 3, len(lines) + 4]
    last = CoverageData(str(files[-1]))
    last.read()
    if last.has_arcs():
        last.add_arcs({name: [(-1, first), (first, -1)] for name, (first, _) in added.items()})
    else:
        last.add_lines(added)
    last.write()
    last.close(force=True)
    return Commit("head", root, files, base.contexts)


def _has_arcs(path: Path) -> bool:
    data = CoverageData(str(path))
    data.read()
    return data.has_arcs()


def measured_in(files: Sequence[Path]) -> list[str]:
    """Return the paths that data files name, sorted."""
    found: set[str] = set()
    for path in files:
        data = CoverageData(str(path))
        data.read()
        found |= data.measured_files()
        data.close(force=True)
    return sorted(found)


def _left_by(base: Commit) -> Path:
    """Return a folder with what the base commit's build leaves: a store, and an agent."""
    left = CACHE / "left"
    shutil.rmtree(left, ignore_errors=True)
    (left / "agent").mkdir(parents=True)
    store_build(base, left / "store")()
    for stage in ("combine", "report"):
        run(_place(left), _command(stage, left, base))
    return left


def _covfleet(head: Commit, how: str, left: Path) -> Tail:
    """Follow a build to its end, and report it."""
    for name in ("store", "agent"):
        shutil.rmtree(CACHE / name, ignore_errors=True)
    (CACHE / "agent").mkdir()
    if how != "cold":
        shutil.copytree(left / "store", CACHE / "store")
    if how == "warm, same agent":
        shutil.copytree(left / "agent", CACHE / "agent", dirs_exist_ok=True)
    give_last = store_build(head, CACHE / "store")
    place = _place(CACHE)
    with (CACHE / "follow.log").open("wb") as log:
        command = (*_command("combine", CACHE, head), "--follow")
        follower = subprocess.Popen(command, cwd=CACHE, env=place.environment, stdout=log, stderr=log)
        before = _cpu_when_quiet(follower.pid)
        began = time.monotonic()
        give_last()
        _, status, usage = os.wait4(follower.pid, 0)
        follower.returncode = os.waitstatus_to_exitcode(status)
    if follower.returncode:
        sys.exit((CACHE / "follow.log").read_text("utf-8"))
    used_s = usage.ru_utime + usage.ru_stime - before.own_s - before.children_s
    combine = Cost(time.monotonic() - began, used_s)
    with _seen(CACHE / "agent" / ".covfleet" / "reports") as written:
        report = run(place, _command("report", CACHE, head))
    return Tail(written.pop() - began, combine + report, before.own_s, before.children_s, combine)


@contextlib.contextmanager
def _seen(folder: Path) -> Iterator[list[float]]:
    """Give a list that gets the time at which the folder is replaced, or appears."""
    before, seen, over = _identity(folder), [], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            if not seen and _identity(folder) not in (before, None):
                seen.append(time.monotonic())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _identity(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except FileNotFoundError:
        return None


def _cpu_when_quiet(pid: int) -> CpuTimes:
    """Return what a follower has used once it does nothing but look for news, and rehearses nothing."""
    began = since = time.monotonic()
    used = -1.0
    while time.monotonic() - since < _QUIET_S:
        time.sleep(0.1)
        now = cpu_times(pid)
        if _rehearses(pid) or now.own_s + now.children_s - used > 0.05:
            used, since = now.own_s + now.children_s, time.monotonic()
        if time.monotonic() - began > _LONGEST_S:
            sys.exit(f"the follower {pid} doesn't come to rest")
    return cpu_times(pid)


def _rehearses(pid: int) -> bool:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return any(b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes() for child in children)


def _command(stage: str, folder: Path, commit: Commit) -> tuple[str | Path, ...]:
    which = ("--commit", commit.name, "--build", BUILD, "--store", folder / "store")
    return (*_COVFLEET, stage, "--project", folder / "agent", *which)


def _place(folder: Path) -> Place:
    path = os.pathsep.join(str(Path(__file__).parents[at]) for at in (1, 2))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return Place(
        folder, environment | {"PYTHONPATH": path, "PYTHONHASHSEED": "0"}, folder / "log", frozenset({0})
    )


def store_build(commit: Commit, folder: Path) -> GiveLast:
    """Put a planned build into the store, with all results but the last; return what writes that."""
    store, keys = LocalStore(folder), CommitKeys(commit.name).build(BUILD)
    measured = [name.removeprefix(f"{commit.agent_root}/") for name in measured_in(commit.data_files)]
    listed = [*measured, ".coveragerc"]
    sources = manifest(commit.root, [name for name in listed if (commit.root / name).is_file()])
    archive = folder.with_suffix(".tar.zst")
    pack(commit.root, sources, archive)
    store.upload(archive, keys.sources)
    tests = {f"{number:04}": f"shard::{number}" for number in range(len(commit.data_files))}
    batches = [Batch(batch, (test,), 1.0) for batch, test in tests.items()]
    measurement = Measurement(_has_arcs(commit.data_files[0]), commit.contexts, core="ctrace")
    plan = planned(commit.name, BUILD, batches, sources=sources, measurement=measurement)
    store.put(keys.plan, to_json(plan))
    results = {}
    for (batch, test), path in zip(tests.items(), commit.data_files, strict=True):
        store.upload(path, keys.of_commit.data_file(path.name))
        outcome = TestOutcome(test, "passed", 1.0)
        files = (replace(data_file(path, path.name), checked=True),)
        result = BatchResult(commit.name, BUILD, batch, 1, "token", 1.0, "ctrace", (outcome,), files)
        results[keys.result(batch)] = to_json(replace(result, root=commit.agent_root))
    last = results.popitem()
    for key, document in results.items():
        store.put(key, document)
    return GiveLast(store, *last)


@dataclass(frozen=True, slots=True)
class GiveLast:
    """Writes the last result of a build."""

    store: LocalStore
    key: str
    document: bytes

    def __call__(self) -> None:
        """Write it."""
        self.store.put(self.key, self.document)


def _stock(head: Commit, into: Path) -> Cost:
    """Do the same with coverage.py's own commands, one after the other."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    coverage = (sys.executable, "-P", "-m", "coverage")
    common = (f"--data-file={_STOCK_DATA}",)
    _STOCK_DATA.unlink(missing_ok=True)
    place = Place(head.root, _place(into).environment, into.with_suffix(".log"), frozenset({0}))
    costs = [run(place, (*coverage, "combine", "-q", "--keep", *common, *head.data_files))]
    html = ("html", "-q", f"--directory={into / 'html'}")
    files = [(kind, "-q", f"-o{into / f'coverage.{kind}'}") for kind in FORMATS]
    costs += [run(place, (*coverage, *words, *common)) for words in (html, *files)]
    costs.append(run(place, (*coverage, "report", "--format=text", *common)))
    place.log.rename(into / "coverage.txt")
    return sum(costs, Cost())


def _check(stock: Path, agent: Path) -> None:
    """Exit if data or reports differ from stock's."""
    own = agent / ".covfleet"
    if not same_data(_STOCK_DATA, own / ".coverage"):
        sys.exit(f"{own / '.coverage'} holds other data than {_STOCK_DATA}")
    wanted, found = contents(stock), contents(own / "reports")
    different = sorted(name for name, content in wanted.items() if found.get(name) != content)
    if different:
        sys.exit(f"{len(different)} reports differ from stock's, such as {different[0]}")


def _rows(title: str, ours: Mapping[str, Sequence[Tail]], theirs: Sequence[Cost]) -> Iterator[str]:
    stock = middle(theirs)
    yield (
        f"| {title} | written after, wall s | stored after, wall s | CPU s | of them combining "
        "| before: merging, CPU s | rehearsing, CPU s |"
    )
    yield "| --- " * 7 + "|"
    yield f"| `coverage combine`, and its five reports | {stock.wall_s:.1f} | | {stock.cpu_s:.1f} | | | |"
    for name, tails in ours.items():
        after, combine = middle([tail.after for tail in tails]), middle([tail.combine for tail in tails])
        before_s = median(tail.before_cpu_s for tail in tails)
        rehearsed_s = median(tail.rehearsals_cpu_s for tail in tails)
        written_s = median(tail.written_s for tail in tails)
        wall, cpu = stock.wall_s / written_s, stock.cpu_s / after.cpu_s
        yield (
            f"| covfleet, {name} | {written_s:.1f} (**{wall:.1f}x** less) "
            f"| {after.wall_s:.1f} ({stock.wall_s / after.wall_s:.1f}x) "
            f"| {after.cpu_s:.1f} ({cpu:.1f}x) | {combine.cpu_s:.2f} | {before_s:.2f} | {rehearsed_s:.1f} |"
        )
