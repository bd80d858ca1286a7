"""The suites of other people: fetched from PyPI, laid out as a project, with an environment for its tests.

A project's folder holds the sources and the tests, and ``python -m pytest`` in it tests these very sources:
an unpacked wheel is importable where it lies, an unpacked sdist is installed in editable form.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import coverage

_TOOLS = ("pytest", "pytest-cov", f"coverage=={coverage.__version__}")


@dataclass(frozen=True, slots=True)
class Suite:
    """A release on PyPI that carries its tests, and how to run them."""

    name: str
    version: str
    needs: tuple[str, ...] = ()  # what its tests import, beside what it requires itself
    options: tuple[str, ...] = ()  # for pytest, in every run
    quick: tuple[str, ...] = ()  # paths of a part that takes seconds; the whole without
    import_all: bool = False  # a test file relies on what another one imports
    configuration: str = ""  # pyproject.toml of what has none of its own
    standard: str = ""  # the package of the standard library that holds the tests, instead of a release

    @property
    def is_wheel(self) -> bool:
        """Whether the wheel is the project; else the sdist is."""
        return bool(self.configuration)


@dataclass(frozen=True, slots=True)
class Project:
    """A suite, ready to run. ``paths`` are the tests that pytest is given; none means all of them."""

    name: str
    root: Path
    python: Path
    options: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    import_all: bool = False


_NETWORKX = """\
[tool.pytest.ini_options]
testpaths = ["networkx"]

[tool.coverage.run]
source = ["networkx"]
"""

SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "networkx",
            "3.6.1",
            quick=(
                "networkx/classes",
                "networkx/utils",
                "networkx/readwrite",
                "networkx/algorithms/shortest_paths",
            ),
            configuration=_NETWORKX,
        ),
        Suite("attrs", "26.1.0", ("cloudpickle", "hypothesis", "pympler"), ("--hypothesis-seed=0",)),
        Suite("jinja2", "3.1.6", ("trio",)),
        Suite("click", "8.5.1", import_all=True),
    )
}

_STANDARD = """\
[tool.pytest.ini_options]
python_classes = []  # those that aren't unittest's are bases of them
[tool.coverage.run]
source_pkgs = ["{tested}", "{tests}"]
"""

_ASYNCIO = (
    "test_base_events",
    "test_futures",
    "test_locks",
    "test_queues",
    "test_runners",
    "test_streams",
    "test_taskgroups",
    "test_tasks",
    "test_timeouts",
)

STANDARD = {
    name: Suite(
        name,
        "",
        options=("--pyargs",),
        configuration=_STANDARD.format(tested=tested, tests=tests),
        quick=tuple(f"{tests}.{part}" for part in quick),
        standard=tests,
    )
    for name, tests, tested, quick in (
        ("test_json", "test.test_json", "json", ()),
        ("test_asyncio", "test.test_asyncio", "asyncio", _ASYNCIO),
    )
}
"""Suites that come with the interpreter; only cores are compared on them."""


def prepare(suite: Suite, python: Path, folder: Path, *, quick: bool) -> Project:
    """Fetch, lay out and install a suite below ``folder``; what an earlier call left there is used again.

    Raises:
        subprocess.CalledProcessError: pip could not do it; it has said why.
    """
    home = folder / f"{suite.name}-{suite.version}"
    ready = home / "ready"
    project = Project(
        suite.name,
        home / "project",
        home / "venv/bin/python",
        suite.options,
        suite.quick if quick and suite.quick else (suite.standard,) if suite.standard else (),
        suite.import_all,
    )
    if not ready.exists():
        shutil.rmtree(home, ignore_errors=True)
        if suite.standard:
            project.root.mkdir(parents=True)
            (project.root / "pyproject.toml").write_text(suite.configuration)
        else:
            _lay_out(suite, _fetch(suite, folder.parent / "downloads"), project.root)
        _install(suite, python, project)
        ready.touch()
    return project


def _fetch(suite: Suite, downloads: Path) -> Path:
    kind = ("--only-binary", ":all:") if suite.is_wheel else ("--no-binary", suite.name)
    pattern = f"{suite.name}-{suite.version}*.{'whl' if suite.is_wheel else 'tar.gz'}"
    if not list(downloads.glob(pattern)):
        release = f"{suite.name}=={suite.version}"
        _pip(Path(sys.executable), "download", "--no-deps", *kind, "--dest", str(downloads), release)
    return next(downloads.glob(pattern))


def _lay_out(suite: Suite, archive: Path, root: Path) -> None:
    root.mkdir(parents=True)
    if suite.is_wheel:
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(root)
        (root / "pyproject.toml").write_text(suite.configuration)
        return
    with tarfile.open(archive) as sdist:
        sdist.extractall(root.parent, filter="data")
    root.rmdir()
    (root.parent / archive.name.removesuffix(".tar.gz")).rename(root)


def _install(suite: Suite, python: Path, project: Project) -> None:
    environment = project.python.parent.parent
    subprocess.run([python, "-m", "venv", "--clear", environment], check=True)
    itself = () if suite.configuration else ("--editable", str(project.root))
    _pip(project.python, "install", *_TOOLS, *suite.needs, *itself)


def _pip(python: Path, *arguments: str) -> None:
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, *arguments], check=True)
