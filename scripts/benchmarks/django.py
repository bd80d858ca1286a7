"""Django's coverage by its own tests, dealt to shards: a real project of about 900 sources.

Django's tests are run by ``tests/runtests.py``, not by pytest: so here is what the shards would leave, one
data file each, with paths relative to the project. What tests do in subprocesses isn't measured.

    python -m benchmarks.django --python python3.12 --shards 4 [--contexts]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from checks.suites import Project, Suite
from checks.suites import prepare as prepare_suite

CACHE = Path(__file__).parents[2] / ".cache" / "bench" / "django"
SUITE = Suite("django", "5.2.19", ("jinja2", "tzdata"))
_TIME_LIMIT_S = 1800


@dataclass(frozen=True, slots=True)
class Corpus:
    """A measured project: coverage.py's settings stand in ``root/.coveragerc``."""

    root: Path
    python: Path  # which has Django and coverage.py
    data_files: tuple[Path, ...]  # one a shard; alone in their folder


def prepare(
    folder: Path = CACHE,
    *,
    python: Path = Path(sys.executable),
    shards: int = 4,
    contexts: bool = False,
    labels: int = 0,
) -> Corpus:
    """Fetch Django, run its tests in shards, and return what they left; what is there is used again.

    Args:
        folder: where all of it lies: project, environment, data.
        python: runs the tests; from 3.12 on, statements are measured at next to no cost.
        shards: how many data files there will be. Of two a time, each is one process of ``runtests.py``.
        contexts: measure branches, and which test function ran them, instead of statements.
        labels: of how many of Django's 210 groups of tests; 0: of all.

    Raises:
        subprocess.SubprocessError: pip failed, or a shard gave no data in half an hour.
    """
    project = prepare_suite(SUITE, python, folder, quick=False)
    (project.root / ".coveragerc").write_text(_settings(contexts=contexts), "utf-8")
    kind = "contexts" if contexts else "statement"
    data = folder / f"data-{kind}-{shards}-{labels or 'all'}"
    if not data.exists():
        unfinished = data.with_name(f"{data.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        deals = [_labels(project.root)[: labels or None][shard::shards] for shard in range(shards)]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda deal: _run(project, unfinished, *deal), enumerate(deals)))
        for foreign in unfinished.glob(".coverage.*.pid*"):
            foreign.unlink()  # runtests.py has subprocesses measured, with settings of its own
        unfinished.rename(data)
    return Corpus(project.root, project.python, tuple(sorted(data.glob(".coverage.*"))))


def _settings(*, contexts: bool) -> str:
    run = "[run]\nrelative_files = true\nsource = django\n"
    if not contexts:
        return run
    return f"{run}branch = true\ndynamic_context = test_function\n[html]\nshow_contexts = true\n"


def _labels(root: Path) -> list[str]:
    """Return what can be named to ``runtests.py``; a few need a display, or a database that isn't SQLite."""
    unfit = {"gis_tests", "postgres_tests", "templates", "requirements"}
    return sorted(
        folder.name
        for folder in (root / "tests").iterdir()
        if (folder / "__init__.py").exists() and folder.name not in unfit
    )


def _run(project: Project, data: Path, shard: int, labels: list[str]) -> None:
    """Run one shard's tests; some of them may fail, as they do anywhere but on Django's own machines."""
    environment = {
        **os.environ,
        "COVERAGE_FILE": str(data / f".coverage.shard-{shard:05d}"),
        "COVERAGE_CORE": "ctrace" if "branch" in _text(project) else "sysmon",
        "PYTHONHASHSEED": "0",
    }
    tests = ("tests/runtests.py", "--parallel=1", "--verbosity=0", *labels)
    with (data / f"shard-{shard}.log").open("wb") as log:
        subprocess.run(
            (project.python, "-m", "coverage", "run", *tests),
            cwd=project.root,
            env=environment,
            stdout=log,
            stderr=log,
            timeout=_TIME_LIMIT_S,
            check=False,
        )
    if not Path(environment["COVERAGE_FILE"]).exists():
        sys.exit(f"shard {shard} left no data; why stands in {log.name}")


def _text(project: Project) -> str:
    return (project.root / ".coveragerc").read_text("utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default="python3.12")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--contexts", action="store_true")
    parser.add_argument("--labels", type=int, default=0)
    arguments = parser.parse_args()
    python = Path(shutil.which(arguments.python) or sys.exit(f"there is no {arguments.python}"))
    corpus = prepare(
        python=python, shards=arguments.shards, contexts=arguments.contexts, labels=arguments.labels
    )
    print(corpus.root, *corpus.data_files, sep="\n")


if __name__ == "__main__":
    main()
