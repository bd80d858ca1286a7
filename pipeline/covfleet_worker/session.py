"""The life of a worker, from the agent's first command to the end of its test session."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from typing import Any, Callable, Iterable

from .channel import Channel
from .commands import serve
from .interpreter import environment, installed_version
from .measurement import WorkerCoverage
from .settings import RefusedError, found_here, resolve


def main(folder: str) -> int:
    """Serve the agent until it closes the channel; return the exit status."""
    channel = Channel()
    die_with_parent()
    start = channel.receive()
    if start is None:
        return 0
    if start["resolve"]:
        return explore(channel, start, folder)
    measurement = WorkerCoverage(folder, start["branch"], start["contexts"], start["core"], start["settings"])
    try:
        found = found_here(start["settings_file"])
    except RefusedError as error:
        channel.send("refused", message=error.message, hint=error.hint)
        return 1
    begin(channel, measurement, start, found=found, applied=measurement.settings)
    if not start["pytest"]:
        serve(channel, measurement, {})
        return 0
    return run_pytest(channel, measurement, start, folder)


def begin(channel: Channel, measurement: WorkerCoverage, start: dict[str, Any], **settings: Any) -> None:
    """Start measuring, unless the worker only collects, and tell the agent how."""
    measurement.start()
    if not start["measure"]:
        measurement.stop()
    how = measurement.described()
    channel.send("ready", environment=environment(), measurement=how, root=os.getcwd(), **settings)


def explore(channel: Channel, start: dict[str, Any], folder: str) -> int:
    """Be the worker that a build is planned with: resolve coverage's settings, then collect."""

    def resolved(asked: Any, notes: Iterable[str] = ()) -> WorkerCoverage:
        found = resolve(start["settings_file"], start["checkout"], start["branch"], asked)
        found.notes += notes
        contexts = start["contexts"] or bool(asked and asked.contexts)
        measurement = WorkerCoverage(folder, None, contexts, start["core"], found.text)
        begin(channel, measurement, start, found=found.found, settings=found.fields())
        return measurement

    try:
        if start["pytest"] and installed_version("pytest"):
            return explore_pytest(channel, start, folder, resolved)
        serve(channel, resolved(None), {})
    except RefusedError as error:
        channel.send("refused", message=error.message, hint=error.hint)
        return 1
    return 0


def explore_pytest(
    channel: Channel, start: dict[str, Any], folder: str, resolved: Callable[..., WorkerCoverage]
) -> int:
    """Resolve the settings once pytest has parsed its arguments, before any conftest; then collect."""
    import pytest

    from . import pytest_cov
    from .options import Options

    rules = Options(channel, start["pytest_args"])
    ours = pytest_arguments({**start, "pytest_args": []}, folder)
    arguments = pytest_arguments(start, folder)

    class Planning:
        @pytest.hookimpl(tryfirst=True)
        def pytest_load_initial_conftests(self, early_config: Any, args: list[str]) -> None:
            from .batches import Batches

            options = early_config.known_args_namespace
            asked = pytest_cov.read(options, args, ours)
            measurement = resolved(asked, () if asked else pytest_cov.without_effect(options))
            rules.notes = measurement.notes
            early_config.pluginmanager.register(Batches(channel, measurement, start))

    become_pytest(arguments)
    plugins = [rules, Planning(), *collecting_plugins(channel, start)]
    return int(pytest.main(arguments, plugins=plugins))


def run_pytest(channel: Channel, measurement: WorkerCoverage, start: dict[str, Any], folder: str) -> int:
    """Run a test session that executes the agent's commands; return pytest's exit status."""
    import pytest  # only here, so that it is measured if the settings say so

    from .batches import Batches, ContextHooks
    from .options import Options

    arguments = pytest_arguments(start, folder)
    become_pytest(arguments)
    options = Options(channel, start["pytest_args"])
    options.notes = measurement.notes
    plugins = [options, Batches(channel, measurement, start), *collecting_plugins(channel, start)]
    if measurement.contexts:
        plugins.append(ContextHooks(measurement))  # separate, as hooks cost time in every test
    status = int(pytest.main(arguments, plugins=plugins))
    measurement.hand_over()  # of code that ran at the end of the test session
    return status


def collecting_plugins(channel: Channel, start: dict[str, Any]) -> list[Any]:
    """Return the plugins that every worker needs that collects."""
    from .collecting import Announced, LeftOut
    from .identity import Identified

    return [Announced(channel), LeftOut(start.get("left_out", {})), Identified()]


def pytest_arguments(start: dict[str, Any], folder: str) -> list[str]:
    """Return pytest's command line: the user's, and a place for its cache."""
    return [*start["pytest_args"], "-o", f"cache_dir={os.path.join(folder, 'pytest-cache')}"]


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
