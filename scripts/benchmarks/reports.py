"""All reports of a data file: covfleet's one pass beside the five commands of coverage.py."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import coverage
from checks.suites import SUITES, Project, prepare

from benchmarks import django
from benchmarks.measure import Cost, Place, middle, run

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "bench" / "reports"

# Without contexts in the JSON report: coverage.py repeats a file's contexts for every function of it, which
# makes gigabytes of jinja2's.
_BRANCHES_AND_CONTEXTS = "branch = true\nsource = src\n[html]\nshow_contexts = true\n"


@dataclass(frozen=True)
class Corpus:
    """A suite's coverage: how to measure it once, and what it is called in the table."""

    title: str
    configuration: str  # behind [run]
    pytest: tuple[str, ...]


CORPORA = {
    "networkx": Corpus(
        "networkx, statement",
        "source = networkx\n",
        ("networkx/classes", "networkx/utils", "networkx/readwrite", "--cov"),
    ),
    "jinja2": Corpus("jinja2, branch + contexts", _BRANCHES_AND_CONTEXTS, ("--cov", "--cov-context=test")),
    "attrs": Corpus("attrs, branch + contexts", _BRANCHES_AND_CONTEXTS, ("--cov", "--cov-context=test")),
}
DJANGO = "django"  # whose tests pytest doesn't run
DATA = (*CORPORA, DJANGO)

_ONE_PASS = """
import sys
from pathlib import Path
from covfleet.report.cache.contents import ReportCache
from covfleet.report.cache.file import open_bundle, write_bundle
from covfleet.report.cache.keys import PROOF
from covfleet.report.rendering import Rendering, render

data, sources, out, scratch, proved = map(Path, sys.argv[1:])
cache = ReportCache([open_bundle(proved)] if proved.exists() else [])
made = render(Rendering(data, sources, out, scratch, False, "", "complete", cache=cache))
if not made.proof.holds:
    sys.exit(made.proof.note)
if not proved.exists():
    cache.write(scratch / "all")
    kept = open_bundle(scratch / "all")
    write_bundle(proved, [(key, 0, kept.entry(key)) for key in kept.places if key.startswith(PROOF)])
"""
_STAMPS = re.compile(rb'created at [^<]*|timestamp="\d+"|"timestamp": "[^"]*"|"globals":"\w*"')


def compare_reports(arguments: argparse.Namespace) -> None:
    """Make the reports in turns, and print medians and ratios; exit if they differ by a byte."""
    print(f"coverage.py {coverage.__version__}, Python {platform.python_version()}\n")
    print("| data | sources, MB of reports | | CPU s (ratio) | wall s (ratio) |")
    print("| --- " * 5 + "|")
    proved = CACHE / "proved"
    for name in arguments.data or DATA:
        title, project, data = opened(name, arguments.python)
        first, ours, theirs = [], [], []
        for _ in range(arguments.rounds):
            theirs.append(stock(project, data, CACHE / "stock"))
            proved.unlink(missing_ok=True)
            for costs in (first, ours):
                costs.append(_one_pass(project, data, CACHE / "covfleet", proved))
                check_equal(CACHE / "stock", CACHE / "covfleet")
        for row in _rows(title, middle(first), middle(ours), middle(theirs)):
            print(row, flush=True)


def opened(name: str, python: str) -> tuple[str, Project, Path]:
    """Return what a corpus is called in tables, its project and its data; they are made the first time."""
    interpreter = Path(shutil.which(python) or sys.executable)
    if name == DJANGO:
        corpus = django.prepare(python=interpreter)
        return "Django, statement", Project(name, corpus.root, corpus.python), _combined(corpus)
    project = prepare(SUITES[name], interpreter, CACHE, quick=False)
    return CORPORA[name].title, project, _measured(CORPORA[name], project)


def _combined(corpus: django.Corpus) -> Path:
    data = CACHE / "django.coverage"
    if not data.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        combine = (sys.executable, "-P", "-m", "coverage", "combine", "--keep", "-q")
        part = data.with_suffix(".part")
        run(place(corpus.root), (*combine, f"--data-file={part}", *corpus.data_files))
        part.rename(data)
    return data


def _measured(corpus: Corpus, project: Project) -> Path:
    """Return the suite's data file, measured the first time."""
    data = CACHE / f"{project.root.parent.name}.coverage"
    common = f"[run]\nrelative_files = true\n{corpus.configuration}"
    (project.root / ".coveragerc").write_text(common)
    if not data.exists():
        pytest = [
            project.python,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--cov-report=",
            *project.options,
        ]
        environment = {**os.environ, "COVERAGE_FILE": str(data.with_suffix(".part"))}
        command = [*pytest, *corpus.pytest]
        done = subprocess.run(command, check=False, cwd=project.root, env=environment, stdout=sys.stderr)
        if done.returncode not in (0, 1):  # 1: some of its tests fail
            sys.exit(f"pytest ended with {done.returncode}")
        data.with_suffix(".part").rename(data)
    return data


def place(folder: Path) -> Place:
    """Return where commands run, with an order of sets that both sides share."""
    return Place(folder, {**os.environ, "PYTHONHASHSEED": "0"}, CACHE / "log", frozenset({0}))


def stock(project: Project, data: Path, into: Path) -> Cost:
    """Make coverage.py's own reports, one after the other."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    command = (sys.executable, "-P", "-m", "coverage")
    common = (f"--data-file={data}", "--fail-under=0")
    where = place(project.root)
    files = [
        run(where, (*command, kind, "-q", f"-o{into / f'coverage.{kind}'}", *common))
        for kind in ("xml", "json", "lcov")
    ]
    html = run(where, (*command, "html", "-q", f"--directory={into / 'html'}", *common))
    text = run(where, (*command, "report", "--format=text", *common))
    where.log.rename(into / "coverage.txt")
    return sum(files, html + text)


def _one_pass(project: Project, data: Path, into: Path, proved: Path) -> Cost:
    """Make covfleet's, with the proof that they are stock's; or find it, if that lies there already."""
    scratch = CACHE / "scratch"
    for folder in (into, scratch):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    return run(
        place(CACHE), (sys.executable, "-P", "-c", _ONE_PASS, data, project.root, into, scratch, proved)
    )


def check_equal(expected: Path, made: Path) -> None:
    """Exit if two folders of reports differ by more than their stamps."""
    wanted, found = contents(expected), contents(made)
    different = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if different:
        sys.exit(
            f"{len(different)} files differ, such as {expected / different[0]} and {made / different[0]}"
        )


def contents(folder: Path) -> dict[str, bytes]:
    """Return what each report in a folder says, by its path, without times and the like."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _STAMPS.sub(b"", path.read_bytes()) for path in files}


def _rows(title: str, first: Cost, ours: Cost, theirs: Cost) -> Iterator[str]:
    made = [path for path in (CACHE / "covfleet").rglob("*") if path.is_file()]
    pages = sum(path.name.startswith("z_") for path in made)
    size = f"{pages}, {sum(path.stat().st_size for path in made) / 1e6:.0f}"
    yield f"| {title} | {size} | covfleet | {figures(ours, theirs)} |"
    yield f"| | | covfleet, with the proof | {figures(first, theirs)} |"
    yield f"| | | `coverage html; xml; json; lcov; report` | {theirs.cpu_s:.1f} | {theirs.wall_s:.1f} |"


def figures(ours: Cost, theirs: Cost) -> str:
    """Return seconds and ratios, for two columns."""
    cpu, wall = theirs.cpu_s / ours.cpu_s, theirs.wall_s / ours.wall_s
    return f"{ours.cpu_s:.1f} (**{cpu:.1f}x less**) | {ours.wall_s:.1f} (**{wall:.1f}x less**)"
