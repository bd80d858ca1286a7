"""``covfleet doctor --measure``: a sample of the suite under both cores, what it costs and what it shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from covfleet.doctor.checks import cores_check
from covfleet.doctor.cost import CoreCost, SampleCosts, expected, sampled
from covfleet.worker.core_comparison import CoreComparison
from support.interpreters import NEWEST, environment, monitoring_interpreter
from support.runs import write_project

WORK = "def work(x):\n    total = 0\n    for n in range(x):\n        total += n\n    return total\n"
FILES = {
    "app.py": WORK,
    **{f"test_{k}.py": f"import app\ndef test_it(): assert app.work({k}) >= 0\n" for k in range(4)},
}


@pytest.fixture(scope="module")
def python() -> Path:
    """An interpreter on which covfleet's own core can measure."""
    return environment(monitoring_interpreter(), *NEWEST)


def doctor(project: Path, python: Path, *arguments: str) -> tuple[int, str]:
    """Run the command as its users do; return its exit code and what it prints."""
    command = [sys.executable, "-m", "covfleet", "doctor", f"--project={project}", f"--python={python}"]
    command += ["--measure", "--seconds=5", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return ran.returncode, ran.stdout


def test_it_compares_the_cores_on_a_sample_and_says_what_each_costs(python, tmp_path):
    code, said = doctor(write_project(tmp_path, FILES), python, "--json")
    document = json.loads(said)
    assert code == 0
    measured = document["measured"]
    assert [each["core"] for each in measured["cores"]] == ["none", "ctrace", "monitor"]
    assert measured["cores"][0]["overhead"] == 1.0
    assert 1 <= measured["files"] <= measured["files_collected"] == 4
    assert measured["pairs"] > 5
    assert measured["missed"] == measured["only_ours"] == []
    (check,) = (check for check in document["checks"] if check["name"] == "cores for contexts")
    assert check["status"] == "ok"


def test_what_cannot_be_measured_is_said_with_what_to_do(python, tmp_path):
    files = {**FILES, ".coveragerc": "[run]\nplugins = idle\n", "idle.py": "def coverage_init(*_): pass\n"}
    code, said = doctor(write_project(tmp_path, files), python)
    assert code == 2
    assert "covfleet's own core can't measure here; ctrace would" in said
    assert "without plugins" in said


PAIR = ("app.py", 3, "t|run")


@pytest.mark.parametrize(
    ("missed", "only_ours", "failing", "status", "code", "said"),
    [
        ((), (), (), "ok", 0, "agree on 10 pairs"),
        ((PAIR,), (), (), "fail", 5, "core misses 1, of 10 pairs of line and context and 1 test"),
        ((), (PAIR,), (), "warn", 0, "core sees 1 that the C tracer doesn't, of"),
        ((), (), ("t",), "fail", 5, "core makes 1 test fail, of"),
        ((PAIR,), (), ("t", "u"), "fail", 5, "core misses 1, makes 2 tests fail, of"),
    ],
)
def test_what_the_own_core_misses_or_breaks_is_a_failure(missed, only_ours, failing, status, code, said):
    seen = CoreComparison(1, 10, frozenset(), frozenset(missed), frozenset(only_ours), frozenset(failing))
    check = cores_check(SampleCosts(1, 1, 1, (CoreCost("none", 1.0, 1.0),), seen))
    assert check.status == status
    assert said in check.detail
    assert code in (0, check.exit_code)
    assert ('core = "ctrace"' in check.fix) == (status == "fail")


def test_the_sample_depends_on_the_files_names_only():
    tests = ("b.py::test_2", "a.py::test_1", "b.py::test_1")
    batches = sampled(tests)
    assert [batch.id for batch in batches] == [batch.id for batch in sampled(tests[::-1])]
    assert {batch.id: batch.tests for batch in batches}["b.py"] == ("b.py::test_2", "b.py::test_1")


def test_every_core_that_records_contexts_has_an_expected_cost():
    assert all(expected(core, contexts=True) for core in ("monitor", "ctrace", "pytrace"))
    assert all(expected(core, contexts=False) for core in ("sysmon", "ctrace", "pytrace"))
