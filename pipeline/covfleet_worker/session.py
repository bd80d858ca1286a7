"""The life of a worker, from the agent's first command to the end of its test session."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import types
from typing import Any

import coverage

from .channel import Channel
from .commands import serve
from .measurement import WorkerCoverage


def main(folder: str) -> int:
    """Serve the agent until it closes the channel; return the exit status."""
    channel = Channel()
    die_with_parent()
    start = channel.receive()
    if start is None:
        return 0
    measurement = WorkerCoverage(folder, start["branch"], start["contexts"], start["core"])
    measurement.start()
    if not start["measure"]:
        measurement.stop()
    channel.send("ready", environment=environment(), measurement=measurement.described(), root=os.getcwd())
    if not start["pytest"]:
        serve(channel, measurement, {})
        return 0
    return run_pytest(channel, measurement, start, folder)


def run_pytest(channel: Channel, measurement: WorkerCoverage, start: dict[str, Any], folder: str) -> int:
    """Run a test session that executes the agent's commands; return pytest's exit status."""
    import pytest  # only here, so that it is measured if the settings say so

    from .batches import Batches, ContextHooks

    arguments = pytest_arguments(start, folder)
    become_pytest(arguments)
    plugins: list[Any] = [Batches(channel, measurement, start)]
    if measurement.contexts:
        plugins.append(ContextHooks(measurement))  # separate, as hooks cost time in every test
    status = int(pytest.main(arguments, plugins=plugins))
    measurement.hand_over()  # of code that ran at the end of the test session
    return status


def pytest_arguments(start: dict[str, Any], folder: str) -> list[str]:
    """Return pytest's arguments: the user's, and those that keep other plugins from doing our work."""
    cache = os.path.join(folder, "pytest-cache")
    arguments = [*start["pytest_args"], "--maxfail=0", "-o", f"cache_dir={cache}"]
    if importlib.util.find_spec("pytest_cov"):
        arguments.append("--no-cov")
    if importlib.util.find_spec("xdist"):
        arguments.append("-n0")
    return arguments


def become_pytest(arguments: list[str]) -> None:
    """Look like ``python -m pytest`` to the tests in ``sys.argv``, ``sys.path`` and ``__main__``."""
    spec = importlib.util.find_spec("pytest.__main__")
    assert spec is not None and spec.origin is not None
    main = types.ModuleType("__main__")
    main.__dict__.update(__spec__=spec, __package__="pytest", __file__=spec.origin, __loader__=spec.loader)
    sys.modules["__main__"] = main
    sys.argv[:] = [spec.origin, *arguments]


def die_with_parent() -> None:
    """Ask Linux to kill this process when the agent dies, whatever a test is doing at that moment."""
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    parent_death_signal = 1  # PR_SET_PDEATHSIG, <linux/prctl.h>
    ctypes.CDLL(None, use_errno=True).prctl(parent_death_signal, signal.SIGKILL, 0, 0, 0)


def environment() -> dict[str, str]:
    """Return the fields of the agent's ``Environment``."""
    return {
        "python": platform.python_version(),
        "pytest": installed_version("pytest"),
        "coverage": coverage.__version__,
        "platform": sys.platform,
        "executable": in_project(sys.executable),
        "prefix": in_project(sys.prefix),
    }


def in_project(path: str) -> str:
    """Return a path relative to the project if it lies there: workspaces of one project have many names."""
    root = os.path.join(os.getcwd(), "")
    return path[len(root) :] if path.startswith(root) else path


def installed_version(package: str) -> str:
    """Return a package's version, or an empty string if it isn't installed."""
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
