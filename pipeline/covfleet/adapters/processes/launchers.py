"""Find the application's interpreter, and launch its workers."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import covfleet
from covfleet.adapters.processes.interpreters import Interpreter, Own, find_interpreter
from covfleet.adapters.processes.worker import ProcessLauncher, tests_environment
from covfleet.settings.installation import environment_of
from covfleet.settings.load import tests_variables
from covfleet.settings.schema import Settings

WORKER = Path(covfleet.__file__).parent.parent / "covfleet_worker"


def project_interpreter(settings: Settings, project: Path, environ: Mapping[str, str]) -> Interpreter:
    """Return the application's interpreter for process workers, with the reason.

    Raises:
        ConfigurationError: none was found, or the one that is meant can't be used.
    """
    own = Own(Path(sys.executable), Path(sys.prefix), importlib.util.find_spec("pytest") is not None)
    return find_interpreter(settings, project, environ, own)


def process_launcher(
    settings: Settings, project: Path, environ: Mapping[str, str], interpreter: Interpreter | None = None
) -> ProcessLauncher:
    """Return what starts workers as plain processes of this machine, with the project's interpreter."""
    found = interpreter or project_interpreter(settings, project, environ)
    variables = tests_variables(settings, environ)
    return ProcessLauncher(
        python=str(found.path),
        project=project,
        environment=activated(tests_environment(environ, {}), found.path) | variables,
        worker=WORKER,
        interpreter=str(found),
    )


def activated(environ: Mapping[str, str], python: Path) -> dict[str, str]:
    """Return the environment as it is where the interpreter's own is active, and covfleet's isn't.

    Tests start programs of their project by name, as they may under `uv run` and in an activated shell. And
    `uvx` puts covfleet's own `python` and `coverage` first, which a test would take for the project's.
    """
    programs, hidden = environ.get("PATH", os.defpath).split(os.pathsep), set[str]()
    if sys.prefix != sys.base_prefix:
        programs = [each for each in programs if Path(each) != Path(sys.prefix, "bin")]
        hidden = {"VIRTUAL_ENV"} if environ.get("VIRTUAL_ENV") == sys.prefix else hidden
    added = {}
    if active := environment_of(python):
        programs = [str(python.parent), *(each for each in programs if Path(each) != python.parent)]
        hidden, added = {"PYTHONHOME"}, {"VIRTUAL_ENV": str(active)}
    kept = {name: value for name, value in environ.items() if name not in hidden}
    return kept | added | {"PATH": os.pathsep.join(programs)}
