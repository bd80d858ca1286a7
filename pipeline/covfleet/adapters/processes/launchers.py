"""Find the application's interpreter, and launch its workers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import covfleet
from covfleet.adapters.processes.worker import ProcessLauncher, tests_environment
from covfleet.settings.schema import Settings

WORKER = Path(covfleet.__file__).parent.parent / "covfleet_worker"


def project_python(settings: Settings, project: Path, environ: Mapping[str, str]) -> str:
    """Return the application's interpreter for process workers.

    That is ``python`` of the settings (a path below the project, or a command); else the project's own
    virtual environment; else the active one; else the interpreter that runs covfleet.
    """
    if settings.python:
        inside = project / settings.python
        return str(inside) if inside.is_file() else settings.python
    environments = [project / ".venv", project / "venv"]
    if active := environ.get("VIRTUAL_ENV"):
        environments.append(Path(active))
    for environment in environments:
        if (python := environment / "bin" / "python").exists():
            return str(python)
    return sys.executable


def process_launcher(settings: Settings, project: Path, environ: Mapping[str, str]) -> ProcessLauncher:
    """Return a launcher of workers as plain processes on this machine."""
    return ProcessLauncher(
        python=project_python(settings, project, environ),
        project=project,
        environment=tests_environment(environ, settings.env),
        worker=WORKER,
    )
