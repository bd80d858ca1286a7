"""Which interpreter runs the tests, and with what: the agent compares the plan's with every worker's."""

from __future__ import annotations

import os
import platform
import re
import sys
from typing import Any, Iterable

import coverage

_INSTALLED = re.compile(r"^(?P<name>.+?)-(?P<version>[^-]+)(?:-py[\d.]+)?\.(?:dist-info|egg-info|egg)$")
_DAY = re.compile(r"\.d\d{8}$")  # setuptools-scm ends versions of changed trees with the day


def environment() -> dict[str, Any]:
    """Return what runs here, as the fields of the agent's ``Environment``."""
    installed = distributions(sys.path, os.getcwd())
    return {
        "python": platform.python_version(),
        "pytest": installed_version("pytest"),
        "coverage": coverage.__version__,
        "platform": sys.platform,
        "implementation": sys.implementation.name,
        "executable": in_project(sys.executable or ""),
        "prefix": in_project(sys.prefix),
        "path": [in_project(entry) for entry in sys.path if isinstance(entry, str) and _is_text(entry)],
        "distributions": [f"{name}=={version}" for name, version in sorted(installed.items())],
    }


def distributions(path: Iterable[str], project: str) -> dict[str, str]:
    """Return the version of each distribution in the folders of ``path``, by its name.

    Names of folders say it: to read the metadata of hundreds of distributions would take a worker's start
    longer than all else. The project's own folder isn't asked: what an old build left there isn't installed.
    """
    found: dict[str, str] = {}
    for folder in path:
        if not isinstance(folder, str) or os.path.realpath(folder) == os.path.realpath(project):
            continue
        try:
            names = sorted(os.listdir(folder))
        except OSError:  # a zip file, or nothing
            continue
        for entry in filter(None, map(_INSTALLED.match, filter(_is_text, names))):
            name = re.sub(r"[-_.]+", "-", entry["name"]).lower()
            found.setdefault(name, _DAY.sub("", entry["version"]))
    return found


def in_project(path: str) -> str:
    """Return a path relative to the project if it lies there: workspaces of one project have many names."""
    root = os.path.join(os.getcwd(), "")
    return path[len(root) :] if path.startswith(root) else path


def installed_version(package: str) -> str:
    """Return a package's version, empty if it isn't installed."""
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
