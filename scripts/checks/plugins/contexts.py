"""A pytest plugin: measures statements with contexts as covfleet's worker does, with a core of one's choice.

CONTEXTS_CORE names the core ("none" measures nothing), CONTEXTS_WORKER the worker, CONTEXTS_FOLDER
where data files go: each finished one is in its folder ``done``. Unless the folder's file ``only`` is empty,
only the tests run whose ids are in it, each after the one that precedes it: what that one has left, such as a
thread that hasn't ended, belongs to them in part.
"""

from __future__ import annotations

import importlib
import os
import resource
import sys
from pathlib import Path
from typing import Any

import pytest


def _measurement(core: str) -> Any:
    sys.path.append(str(Path(os.environ["CONTEXTS_WORKER"]).parent))
    measuring = importlib.import_module("covfleet_worker.measurement")
    sys.path.pop()
    measurement = measuring.WorkerCoverage(
        os.environ["CONTEXTS_FOLDER"], branch=False, contexts=True, core=core
    )
    measurement.start()
    return measurement


_core = os.environ["CONTEXTS_CORE"]
if _core != "none":
    _measured = _measurement(_core)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(item: pytest.Item) -> None:
        """Attribute what runs from now on to the test's setup."""
        _measured.switch(f"{item.nodeid}|setup")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(item: pytest.Item) -> None:
        """Attribute what runs from now on to the test."""
        _measured.switch(f"{item.nodeid}|run")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(item: pytest.Item) -> None:
        """Attribute what runs from now on to the test's teardown."""
        _measured.switch(f"{item.nodeid}|teardown")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the tests that aren't asked for."""
    if only := set(Path(os.environ["CONTEXTS_FOLDER"], "only").read_text("utf-8").splitlines()):
        following = [*items[1:], *items[-1:]]
        pairs = zip(items, following, strict=True)
        items[:] = [item for item, after in pairs if item.nodeid in only or after.nodeid in only]


_failed: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember which tests fail."""
    if report.failed:
        _failed.add(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Write the data, which tests failed, and how much memory the process took, in KiB."""
    Path(os.environ["CONTEXTS_FOLDER"], "failed").write_text("\n".join(sorted(_failed)), "utf-8")
    if _core != "none":
        _measured.hand_over()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    Path(os.environ["CONTEXTS_FOLDER"], "peak").write_text(f"{peak}\n")
