"""Running a project's tests: serially by the stock tools, which is the oracle, and by covfleet.

Both get the project's own coverage settings and measure subprocesses, and strings hash alike in both, so that
the order of sets is no difference.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from covfleet.model import Ledger, Plan, file_of_test
from covfleet.store.encoding import from_json
from covfleet.store.keys import BuildKeys

from checks.suites import Project

_FOREIGN = ("COVERAGE_", "COVFLEET_", "PYTEST_", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
_PLUGINS = Path(__file__).parent / "plugins"
_KEYS = BuildKeys("equality", "b1")
_CORE = """
import coverage, sys
cov = coverage.Coverage(data_file=None, config_file=sys.argv[1])
cov.start()
print(dict(cov.sys_info())["core"])
"""
_CORES = {"CTracer": "ctrace", "PyTracer": "pytrace", "SysMonitor": "sysmon"}


@dataclass(frozen=True, slots=True)
class Mode:
    """What is measured."""

    name: str
    branch: bool
    contexts: bool


MODES = {
    mode.name: mode
    for mode in (
        Mode("line", branch=False, contexts=False),
        Mode("branch", branch=True, contexts=False),
        Mode("line+contexts", branch=False, contexts=True),
        Mode("branch+contexts", branch=True, contexts=True),
    )
}


@dataclass(frozen=True, slots=True)
class Run:
    """What a run gave: a combined data file, the tests that ran and that failed, and their files in order."""

    data_file: Path
    core: str
    tests: frozenset[str]
    failed: frozenset[str]
    test_files: tuple[str, ...]


class RunError(Exception):
    """A run ended in another way than with its tests passed or failed."""


def serial(
    project: Project, mode: Mode, folder: Path, paths: tuple[str, ...], plugins: tuple[str, ...] = ()
) -> Run:
    """Run tests in one process under stock coverage.py, or pytest-cov where contexts are wanted.

    ``plugins`` are modules of ``checks/plugins``.
    ``folder`` is emptied, and holds the result then. Raises ``RunError`` if that isn't what comes out.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings, data_file, record = folder / "settings.ini", folder / ".coverage", folder / "record.json"
    settings.write_text(stock_settings(project.root / "pyproject.toml", branch=mode.branch))
    environment = _environment() | {"PYTHONPATH": str(_PLUGINS), "EQUALITY_RECORD": str(record)}
    environment["COVERAGE_FILE"] = str(data_file)
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    pytest += [*(f"-p{plugin}" for plugin in ("record", *plugins)), *project.options, *paths]
    if mode.contexts:
        cov = ("--cov", f"--cov-config={settings}", "--cov-context=test", "--cov-report=")
        _call(project, environment, [*pytest, *cov], good=(0, 1))
    else:
        run = ("-m", "coverage", "run", f"--rcfile={settings}")
        _call(project, environment, [*run, *pytest], good=(0, 1))
        _call(project, environment, ["-m", "coverage", "combine", f"--rcfile={settings}"], good=(0,))
    core = _call(project, environment, ["-c", _CORE, str(settings)], good=(0,)).strip()
    noted = json.loads(record.read_text())
    tests, failed = frozenset(noted["tests"]), frozenset(noted["failed"])
    return Run(data_file, _CORES.get(core, core), tests, failed, tuple(noted["files"]))


def sharded(project: Project, mode: Mode, shards: int, folder: Path) -> Run:
    """Run the same by covfleet: plan, shards side by side, combine.

    ``folder`` is emptied, and holds the store then. Raises ``RunError`` if the data isn't complete.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    store = folder / "store"
    build = [
        f"--project={project.root}",
        f"--store={store}",
        f"--commit={_KEYS.commit}",
        f"--build={_KEYS.build}",
    ]
    python = f"--python={project.python}"
    measure = ["--branch-coverage" if mode.branch else "--no-branch-coverage"]
    measure += ["--contexts" if mode.contexts else "--no-contexts"]
    tests = ["--", *project.options, *project.paths]
    settings = {"COVFLEET_IMPORT_ALL": str(project.import_all).lower()}
    _covfleet(["plan", *build, f"--shards={shards}", python, *measure, *tests], settings, good=(0,))
    with ThreadPoolExecutor(shards) as pool:
        commands = [["shard", str(shard), *build, python] for shard in range(1, shards + 1)]
        list(pool.map(lambda command: _covfleet(command, {}, good=(0, 3)), commands))
    _covfleet(["combine", *build], {}, good=(0,))
    plan = from_json(Plan, (store / _KEYS.plan).read_bytes(), name="the plan")
    ledger = from_json(Ledger, (store / _KEYS.ledger).read_bytes(), name="the ledger")
    files = tuple(dict.fromkeys(file_of_test(test) for test in plan.tests))
    core, failed = plan.measurement.core, frozenset(ledger.failures)
    return Run(store / _KEYS.combined, core, frozenset(plan.tests), failed, files)


def _covfleet(arguments: list[str], settings: Mapping[str, str], *, good: tuple[int, ...]) -> None:
    command = [sys.executable, "-m", "covfleet", *arguments]
    _checked(command, Path.cwd(), {**_environment(), **settings}, good=good)


def stock_settings(pyproject: Path, *, branch: bool) -> str:
    """Return the project's own coverage settings as a file for the stock tools.

    covfleet measures subprocesses in any case, so the oracle must; and ``branch`` has no flag to turn it off.
    """
    tables = tomllib.loads(pyproject.read_text("utf-8")).get("tool", {}).get("coverage", {})
    run = {**tables.get("run", {}), "branch": branch, "parallel": True, "patch": ["subprocess"]}
    sections = {"run": run, "paths": tables.get("paths", {})}
    return "\n".join(f"[{name}]\n{_options(table)}" for name, table in sections.items())


def _options(table: Mapping[str, object]) -> str:
    return "".join(
        f"{key} =\n{''.join(f'    {item}{chr(10)}' for item in value)}"
        if isinstance(value, list)
        else f"{key} = {value}\n"
        for key, value in table.items()
    )


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**kept, "PYTHONHASHSEED": "0"}


def _call(
    project: Project, environment: dict[str, str], arguments: list[str], *, good: tuple[int, ...]
) -> str:
    return _checked([str(project.python), *arguments], project.root, environment, good=good)


def _checked(command: list[str], cwd: Path, environment: dict[str, str], *, good: tuple[int, ...]) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in good:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise RunError(f"{' '.join(command)}\nended with exit status {done.returncode}:\n{said}")
    return done.stdout
