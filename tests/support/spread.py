"""A suite of about two seconds, spread over many files: every test executes lines and arcs of its own.

So a test that is lost shows in the coverage, whichever it is. The tests wait more than they compute, so that
shards that are killed in the middle of one don't fight for the processor with their successors.
"""

from __future__ import annotations

from pathlib import Path

from support.runs import write_project

FILES = 10
TESTS_A_FILE = 5
TESTS = FILES * TESTS_A_FILE

_APP = """
def part_{number}(chosen):
    passed = []
    for step in range({tests}):
        if step == chosen:
            passed.append("chosen")
        elif step > chosen:
            passed.append("after")
{branches}
    return passed
"""
_BRANCH = """
    if chosen == {test}:
        passed.append("only test {test}")
"""
_TEST_FILE = """
import time
import pytest
from app.part_{number} import part_{number}

@pytest.mark.parametrize("chosen", range({tests}))
def test_part(chosen):
    time.sleep(0.02)
    assert "only test %d" % chosen in part_{number}(chosen)
    time.sleep(0.02)
"""
_RAN = """
import os

def pytest_runtest_setup(item):
    with open(os.environ.get("RAN", os.devnull), "a") as ran:
        ran.write(item.nodeid + "\\n")
"""
_SETTINGS = """
[tool.coverage.run]
branch = true
source = ["app"]

[tool.pytest.ini_options]
pythonpath = ["."]
testpaths = ["tests"]

[tool.covfleet]
batch_s = 0.001
lease_s = 1.0
heartbeat_s = 0.2
checkpoint_s = 0.05
"""


def write_spread_project(root: Path) -> Path:
    """Write the suite below ``root`` and return it: ``FILES`` batches of ``TESTS_A_FILE`` tests each.

    Each test writes its id into the file that the environment variable RAN names.
    """
    branches = "".join(_BRANCH.format(test=test) for test in range(TESTS_A_FILE))
    files = {"pyproject.toml": _SETTINGS, "conftest.py": _RAN, "app/__init__.py": ""}
    for number in range(FILES):
        numbered = {"number": number, "tests": TESTS_A_FILE}
        files[f"app/part_{number}.py"] = _APP.format(**numbered, branches=branches)
        files[f"tests/test_part_{number}.py"] = _TEST_FILE.format(**numbered)
    return write_project(root, files)
