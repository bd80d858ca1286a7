"""How covfleet and others were installed: environments, and the commands that add packages to them."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

_UV_CACHE = ("archive-v", "environments-v", "builds-v")
"""How folders of uv's cache begin that hold environments for one command."""


def environment_of(python: Path) -> Path | None:
    """Return the virtual environment that an interpreter belongs to, ``None`` if it is none's."""
    folder = python.parent.parent
    return folder if (folder / "pyvenv.cfg").is_file() else None


def lines_of(config: Path) -> dict[str, str]:
    """Return what a ``pyvenv.cfg`` says; nothing if there is none."""
    try:
        lines = config.read_text("utf-8").splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}


def to_install(python: Path, *requirements: str) -> str:
    """Return the command that installs packages beside an interpreter; not every environment holds pip."""
    folder = environment_of(python)
    if folder is None or any(folder.glob("lib/python*/site-packages/pip")):
        command = [str(python), "-m", "pip", "install"]
    elif "uv" in lines_of(folder / "pyvenv.cfg"):
        command = ["uv", "pip", "install", "--python", str(python)]
    else:
        command = ["python3", "-m", "pip", "--python", str(python), "install"]
    return shlex.join([*command, *requirements])


def to_extend(*, extra: str = "", package: str = "") -> str:
    """Return the command that gives this covfleet one of its extras, or a package beside it.

    It is what has installed this one, with more: pipx, uv or pip. `uvx` and `pipx run` install for one
    command, and are called with all that it needs.
    """
    prefix, itself, beside = Path(sys.prefix), _requirement(extra), ["--with", package] if package else []
    if (prefix / "pipx_metadata.json").is_file():
        if prefix.parent.name != "venvs":
            return shlex.join(["pipx", "run", *beside, "--spec", *itself[-1:], "covfleet"])
        changed = ["inject", "covfleet", package] if package else ["install", "--force", *itself]
        return shlex.join(["pipx", *changed])
    if (prefix / "uv-receipt.toml").is_file():
        return shlex.join(["uv", "tool", "install", "--force", *beside, *itself])
    if any(part.startswith(_UV_CACHE) for part in prefix.parts):
        return shlex.join(["uvx", *beside, "--from", *itself[-1:], "covfleet"])
    return to_install(Path(sys.executable), *([package] if package else itself))


def _requirement(extra: str) -> list[str]:
    """Return covfleet, with an extra, as an installer takes it: from where this one came."""
    name = f"covfleet[{extra}]" if extra else "covfleet"
    try:
        origin = json.loads(distribution("covfleet").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        origin = {}
    url = str(origin.get("url", ""))
    if origin.get("dir_info", {}).get("editable"):
        return ["--editable", url.removeprefix("file://") + (f"[{extra}]" if extra else "")]
    return [f"{name} @ {url}" if url else name]
