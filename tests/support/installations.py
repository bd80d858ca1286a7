"""covfleet installed as its users install it: a wheel, in environments of every kind that they have."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from support.needs import missing
from support.processes import without_settings

ROOT = Path(__file__).parents[2]
BESIDE = Path(sys.executable).parent

FOREIGN = ("VIRTUAL_ENV", "PYTHONPATH", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT", "PIPX_DEFAULT_BACKEND")


def clean_environment() -> dict[str, str]:
    """Return a user's environment in which nothing is active yet, and this test run can't be seen."""
    kept = {name: value for name, value in without_settings().items() if name not in FOREIGN}
    path = [each for each in os.environ["PATH"].split(os.pathsep) if Path(each) != BESIDE]
    return kept | {"PATH": os.pathsep.join(path)}


def program(name: str) -> str:
    """Return the path of ``uv``, ``uvx`` or ``pipx``."""
    found = shutil.which(name, path=f"{BESIDE}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        missing(name, f"pip install {name}; the extra `test` holds it")
    return found


@dataclass
class Tools:
    """uv and pipx, with folders of their own for what they install; uv's cache is the machine's."""

    folder: Path
    environ: dict[str, str] = field(default_factory=clean_environment)

    def __post_init__(self) -> None:
        places = {
            "UV_TOOL_DIR": "uv-tools",
            "UV_TOOL_BIN_DIR": "uv-bin",
            "PIPX_HOME": "pipx",
            "PIPX_BIN_DIR": "pipx-bin",
            "PIPX_MAN_DIR": "pipx-man",
        }
        self.environ |= {name: str(self.folder / place) for name, place in places.items()}
        # Not this environment's interpreter: `uv run --with` would lay covfleet over it.
        own = str(Path(sys.executable).resolve())
        self.environ |= {"UV_PYTHON": own, "PIPX_DEFAULT_PYTHON": own}

    def run(
        self, command: list[str], cwd: Path, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a user would; its first word may be one of the programs."""
        first = program(command[0]) if command[0] in ("uv", "uvx", "pipx") else command[0]
        return subprocess.run(
            [first, *command[1:]],
            cwd=cwd,
            env=self.environ | dict(environ or {}),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def get(self, *command: str) -> None:
        """Run a command that downloads; without a package index the test can't be made."""
        done = self.run(list(command), self.folder)
        if done.returncode:
            missing("a package index", f"{' '.join(command)} says: {done.stderr[-500:]}")

    def succeed(self, command: list[str], cwd: Path, environ: Mapping[str, str] | None = None) -> str:
        """Run a command that must end well; return what it said on standard error."""
        done = self.run(command, cwd, environ)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stderr

    def environment(self, folder: Path, *requirements: str) -> Path:
        """Make a virtual environment with these packages, and return its interpreter."""
        self.get("uv", "venv", "--quiet", str(folder))
        python = folder / "bin" / "python"
        if requirements:
            self.get("uv", "pip", "install", "--quiet", "--python", str(python), *requirements)
        return python

    @cached_property
    def wheel(self) -> Path:
        """The wheel of this checkout."""
        self.get("uv", "build", "--quiet", "--wheel", "--out-dir", str(self.folder / "dist"), str(ROOT))
        (wheel,) = (self.folder / "dist").glob("*.whl")
        return wheel

    @cached_property
    def installed(self) -> Path:
        """The interpreter of an environment that holds covfleet, and no pytest."""
        return self.environment(self.folder / "installed", str(self.wheel))

    # ---- the ways to call it

    def editable(self) -> list[str]:
        return [str(BESIDE / "covfleet")]

    def script(self) -> list[str]:
        return [str(self.installed.parent / "covfleet")]

    def module(self) -> list[str]:
        return [str(self.installed), "-m", "covfleet"]

    def uvx(self) -> list[str]:
        return ["uvx", "--quiet", "--from", str(self.wheel), "covfleet"]

    def uv_tool(self) -> list[str]:
        covfleet = self.folder / "uv-bin" / "covfleet"
        if not covfleet.exists():
            self.get("uv", "tool", "install", "--quiet", str(self.wheel))
        return [str(covfleet)]

    def uv_run(self) -> list[str]:
        return ["uv", "run", "--quiet", "--no-project", "--with", str(self.wheel), "covfleet"]

    def pipx_run(self) -> list[str]:
        return ["pipx", "run", "--spec", str(self.wheel), "covfleet"]

    def pipx(self) -> list[str]:
        covfleet = self.folder / "pipx-bin" / "covfleet"
        if not covfleet.exists():
            self.get("pipx", "install", "--quiet", str(self.wheel))
        return [str(covfleet)]


WAYS: dict[str, Callable[[Tools], list[str]]] = {
    "editable": Tools.editable,
    "wheel": Tools.script,
    "python -m": Tools.module,
    "uvx": Tools.uvx,
    "uv tool": Tools.uv_tool,
    "uv run --with": Tools.uv_run,
    "pipx run": Tools.pipx_run,
    "pipx install": Tools.pipx,
}
