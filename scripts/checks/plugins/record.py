"""A pytest plugin: writes down which files were collected, and which tests ran and failed, by their ids.

The environment variable EQUALITY_RECORD names the file. A test file that can't be imported, or skips itself,
counts as a test.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

_files: dict[str, None] = {}
_tests: dict[str, None] = {}
_failed: dict[str, None] = {}


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a file, and a test if nothing in it can run."""
    if "::" in report.nodeid or not report.nodeid.endswith(".py"):
        return
    _files[report.nodeid] = None
    if not report.passed:
        _tests[report.nodeid] = None
    if report.failed:
        _failed[report.nodeid] = None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a test."""
    _tests[report.nodeid] = None
    if report.failed:
        _failed[report.nodeid] = None


def pytest_sessionfinish() -> None:
    """Write it all down."""
    record = {"files": list(_files), "tests": list(_tests), "failed": list(_failed)}
    Path(os.environ["EQUALITY_RECORD"]).write_text(json.dumps(record))
