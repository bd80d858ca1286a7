"""Which interpreter runs the application, and why that one.

The order, by how plainly the user has said it:

1. the setting ``python``: ``--python``, ``COVFLEET_PYTHON``, ``[tool.covfleet]``;
2. the environment that is active in the shell: ``VIRTUAL_ENV``, then ``CONDA_PREFIX``. Whoever activates one
   while the project has a ``.venv`` has a reason, and ``pytest`` in that shell would use it, too;
3. the project's own: uv's (``UV_PROJECT_ENVIRONMENT``), ``.venv``, ``venv``, its uv workspace's, poetry's;
4. conda's base environment, which is always active where conda is set up, so it says little;
5. the one that runs covfleet, if pytest is there: then covfleet was installed into the project's environment.

Nothing is guessed beyond that: an environment that should be there and is broken is an error, and so is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from covfleet.errors import ConfigurationError
from covfleet.settings.installation import lines_of
from covfleet.settings.schema import Settings

_PATIENCE_S = 60.0
_NAMING_IT = "name another one with --python PATH_OR_COMMAND"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter: ``path`` is absolute, links unresolved, as a link makes it an environment's.

    ``why`` says where it was found; ``note`` what a user might wonder about, if anything.
    """

    path: Path
    why: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.path}, {self.why}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True, slots=True)
class Own:
    """The interpreter that runs covfleet, and whether a test suite could run there, too."""

    executable: Path
    prefix: Path
    has_pytest: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an environment may be; without a folder ``absent`` says why there is none.

    ``is_named``: somebody has named the folder, so that its absence is a mistake.
    """

    what: str
    folder: Path | None
    absent: str = "not there"
    is_named: bool = False


def find_interpreter(settings: Settings, project: Path, environ: Mapping[str, str], own: Own) -> Interpreter:
    """Return the application's interpreter, for process workers.

    Raises:
        ConfigurationError: the one that is named isn't there, an environment is broken, or there is none.
    """
    if settings.python:
        return _set(settings.python, project, environ)
    looked_at = ["`python` in [tool.covfleet], COVFLEET_PYTHON, --python: not set"]
    for place in _places(project, environ, own):
        folder = place.folder
        if folder is None or not (place.is_named or folder.is_dir()):
            looked_at.append(f"{place.what}: {place.absent}")
        elif _is_same(folder, own.prefix) and not own.has_pytest:
            looked_at.append(f"{place.what}: {folder} is covfleet's own and has no pytest")
        else:
            return Interpreter(_python_of(folder, place.what), place.what, _passed_over(place, project))
    if own.has_pytest:
        return Interpreter(own.executable, "which runs covfleet, too: no environment was found")
    looked_at.append(f"covfleet's own interpreter {own.executable}: has no pytest")
    listed = "".join(f"\n  - {line}" for line in looked_at)
    raise ConfigurationError(
        f"which interpreter runs the tests of {project}? None was found. Looked for, in this order:{listed}",
        hint=f"Say which with --python PATH_OR_COMMAND, or make an environment: {_how_to_make_one(project)}",
    )


# ---- what was named


def _set(named: str, project: Path, environ: Mapping[str, str]) -> Interpreter:
    """Return what the setting names: a file or an environment's folder (below the project), or a command."""
    why = "set as `python`" + ("" if Path(named).is_absolute() else f" ({named})")
    path = Path(os.path.abspath(project / Path(named).expanduser()))  # noqa: PTH100 - it may be a link
    if path.is_dir():
        return Interpreter(_python_of(path, f"`python` ({named})"), why)
    if path.is_file():
        return Interpreter(path, why)
    command = None if os.sep in named else shutil.which(named, path=environ.get("PATH"))
    if command is None:
        what = f"file {path}" if os.sep in named else f"file {path}, nor a command {named}"
        raise ConfigurationError(
            f"there is no interpreter {named!r}: no {what}",
            hint="Name a file (.venv/bin/python), an environment's folder (.venv) or a command (python3.12).",
        )
    return Interpreter(_behind(command, project, environ), why)


def _behind(command: str, project: Path, environ: Mapping[str, str]) -> Path:
    """Return the interpreter that a command starts here: it may be a shim, which elsewhere starts another."""
    try:
        said = _answer(project, environ, command, "-I", "-S", "-c", "import sys; print(sys.executable)")
    except (OSError, subprocess.SubprocessError) as error:
        words = (getattr(error, "stderr", None) or str(error)).strip()
        raise ConfigurationError(
            f"the command {command} starts no interpreter: {words}", hint=f"Correct that, or {_NAMING_IT}."
        ) from error
    if not Path(said).is_file():
        raise ConfigurationError(
            f"the command {command} is no Python interpreter", hint=f"Correct that, or {_NAMING_IT}."
        )
    return Path(said)


def _answer(project: Path, environ: Mapping[str, str], *command: str) -> str:
    """Return what a command says in the project's folder, on one line."""
    return subprocess.run(
        command,
        cwd=project,
        env=dict(environ),
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
        timeout=_PATIENCE_S,
    ).stdout.strip()


# ---- what may be there


def _places(project: Path, environ: Mapping[str, str], own: Own) -> Iterator[_Place]:
    """Yield the places in their order; a later one is looked up only if no earlier one serves."""
    conda, is_base = _named(environ, "CONDA_PREFIX"), environ.get("CONDA_DEFAULT_ENV") in ("base", "root")
    yield _active(environ)
    if not is_base:
        yield _Place("the active conda environment", conda, "CONDA_PREFIX is not set", is_named=True)
    workspace = _workspace(project)
    synced = _named(environ, "UV_PROJECT_ENVIRONMENT", workspace or project)
    yield _Place(
        "the environment of UV_PROJECT_ENVIRONMENT", synced, f"{synced} is not there" if synced else "not set"
    )
    yield _Place("the project's .venv", project / ".venv")
    yield _Place("the project's venv", project / "venv")
    if workspace:
        yield _Place("the .venv of the project's uv workspace", workspace / ".venv")
    yield _poetry_place(project, environ, own)
    if is_base:
        yield _Place("conda's base environment", conda, is_named=True)


def _active(environ: Mapping[str, str]) -> _Place:
    """Return the active virtual environment; `uv run --with` lays another over it, for one command."""
    what, folder = "the active virtual environment", _named(environ, "VIRTUAL_ENV")
    if folder and (below := lines_of(folder / "pyvenv.cfg").get("extends-environment")):
        if not Path(below, "pyvenv.cfg").is_file():
            return _Place(what, None, f"{folder} was made for this command alone")
        folder = Path(below)
    return _Place(what, folder, "VIRTUAL_ENV is not set", is_named=True)


def _named(environ: Mapping[str, str], variable: str, base: Path | None = None) -> Path | None:
    value = environ.get(variable)
    return (base or Path.cwd()) / value if value else None


def _python_of(folder: Path, what: str) -> Path:
    """Return an environment's interpreter.

    Raises:
        ConfigurationError: it has none that could be started.
    """
    python = folder / "bin" / "python"
    if python.is_file():
        return python
    broken = f"leads to {python.readlink()}, which is gone" if python.is_symlink() else "isn't there"
    raise ConfigurationError(f"{what} is broken: {python} {broken}", hint=f"Make it again, or {_NAMING_IT}.")


def _passed_over(place: _Place, project: Path) -> str:
    """Say that the project has an environment of its own, if another one is taken because it is active."""
    own = project / ".venv"
    if not place.what.startswith("the active") or place.folder is None:
        return ""
    if not (own / "pyvenv.cfg").is_file() or _is_same(own, place.folder):
        return ""
    return f"the project's .venv is not used; for that, deactivate {place.folder} or say --python .venv"


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


# ---- uv and poetry


def _workspace(project: Path) -> Path | None:
    """Return the root of the uv workspace that the project is a member of, if it is one."""
    for root in project.parents:
        workspace = _tool(root, "uv").get("workspace")
        if isinstance(workspace, dict):
            members, excluded = ({*_globbed(root, workspace.get(key))} for key in ("members", "exclude"))
            return root if project in members - excluded else None
    return None


def _globbed(root: Path, patterns: object) -> Iterator[Path]:
    for pattern in patterns if isinstance(patterns, list) else ():
        yield from root.glob(str(pattern))


def _poetry_place(project: Path, environ: Mapping[str, str], own: Own) -> _Place:
    what = "poetry's environment"
    if not _uses_poetry(project):
        return _Place(what, None, "the project doesn't use poetry")
    if (poetry := shutil.which("poetry", path=environ.get("PATH"))) is None:
        return _Place(what, None, "the project uses poetry, but there is no command poetry")
    # It takes whatever is active for the project's, covfleet's own environment as well.
    active = _named(environ, "VIRTUAL_ENV")
    hidden = {"VIRTUAL_ENV"} if active and _is_same(active, own.prefix) else set()
    given = {name: value for name, value in environ.items() if name not in hidden}
    try:
        said = _answer(project, given, poetry, "env", "info", "--path")
    except (OSError, subprocess.SubprocessError):
        return _Place(what, None, f"`{poetry} env info --path` names none: has `poetry install` been run?")
    return _Place(what, Path(said) if said else None, "poetry names none")


def _uses_poetry(project: Path) -> bool:
    return bool(_tool(project, "poetry")) or (project / "poetry.lock").is_file()


def _tool(folder: Path, name: str) -> dict[str, Any]:
    """Return ``[tool.NAME]`` of a folder's pyproject.toml; empty if there is none that can be read."""
    try:
        table = tomllib.loads((folder / "pyproject.toml").read_text("utf-8")).get("tool", {}).get(name, {})
    except (OSError, ValueError, AttributeError):
        return {}
    return table if isinstance(table, dict) else {}


def _how_to_make_one(project: Path) -> str:
    if (project / "uv.lock").is_file() or _tool(project, "uv") or _workspace(project):
        return "uv sync"
    if _uses_poetry(project):
        return "poetry install"
    return "python3 -m venv .venv && .venv/bin/python -m pip install pytest coverage, and what the tests need"
