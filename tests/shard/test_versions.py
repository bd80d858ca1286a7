"""The worker in the environments that applications have: from the oldest supported versions to the newest.

Other interpreters than the running one are looked for on the PATH and beside it; others are not shown.
"""

from __future__ import annotations

import pytest
from support.interpreters import NEWEST, environment, interpreter
from support.runs import Build, lines_of, new_build, write_project

OLDEST = ("coverage==7.10.6", "pytest==7.0.1")
FILES = {
    "app.py": "def double(x):\n    if x > 1:\n        return 2 * x\n    return x + x\n",
    "conftest.py": "import pytest\n\n@pytest.fixture(scope='session')\ndef two():\n    return 2\n",
    "sub/conftest.py": "import pytest\n\n@pytest.fixture\ndef one():\n    return 1\n",
    "sub/test_a.py": "from app import double\n\ndef test_a(one):\n    assert double(one) == 2\n",
    "sub/test_b.py": "from app import double\n\ndef test_b(two, one):\n    assert double(two) == 4\n",
    "sub/test_child.py": (
        "import subprocess, sys\n\ndef test_child():\n"
        "    subprocess.run([sys.executable, '-c', 'import app; app.double(1)'], check=True)\n"
    ),
    "test_bad.py": "def test_fails():\n    assert 1 == 2\n",
}


ENVIRONMENTS = [
    (version, packages, core)
    for version, packages, core in (
        ("3.9", OLDEST, "ctrace"),
        ("running", OLDEST, None),
        ("3.12", NEWEST, "sysmon"),
        ("3.13", NEWEST, "sysmon"),
        ("3.14", NEWEST, "sysmon"),
    )
    if interpreter(version)
]


@pytest.mark.slow
@pytest.mark.parametrize(("version", "packages", "core"), ENVIRONMENTS)
def test_every_supported_environment_gives_the_same(tmp_path, version, packages, core):
    project = write_project(tmp_path, FILES)
    build: Build = new_build(project, batch_s=0.001)
    build.launcher._python = str(environment(version, *packages))
    plan = build.plan()
    build.run_shard(plan)
    assert core in {None, plan.measurement.core}
    assert {test: outcome.outcome for test, outcome in build.outcomes().items()} == {
        "sub/test_a.py::test_a": "passed",
        "sub/test_b.py::test_b": "passed",
        "sub/test_child.py::test_child": "passed",
        "test_bad.py::test_fails": "failed",
    }
    combined = build.combine()
    assert combined.ledger.verdict == "complete"
    assert lines_of(combined.data_file)["app.py"] == [1, 2, 3, 4]
