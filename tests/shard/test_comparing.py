"""Batches that run again under both cores for contexts: what differs is named, the result stays the same."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from covfleet.adapters.processes.launchers import WORKER
from covfleet.adapters.processes.worker import ProcessLauncher, ProcessWorker
from covfleet.ports.worker import WorkerSpec
from covfleet.worker.core_comparison import Sight, compare, compare_until_sure
from support.interpreters import NEWEST, environment, monitoring_interpreter
from support.runs import Build, lines_of, new_build, write_project

FILES = {
    "app.py": "def double(x):\n    y = 2 * x\n    return y\n",
    "test_a.py": "import app\ndef test_a(): assert app.double(1) == 2\n",
    "test_b.py": "import app\ndef test_b(): assert app.double(2) == 4\n",
}
DISTORTED = """

_as_it_is = ContextCollector._keep


def _distorted(self, found):
    _as_it_is(self, {{file: ({bits}) if file.endswith("app.py") else bits for file, bits in found.items()}})


ContextCollector._keep = _distorted
"""
"""What makes a core that sees more or less of app.py."""


@pytest.fixture(scope="module")
def python() -> Path:
    """An interpreter on which covfleet's own core can measure."""
    return environment(monitoring_interpreter(), *NEWEST)


def ran(
    folder: Path,
    python: Path,
    worker: Path = WORKER,
    files: Mapping[str, str] = MappingProxyType(FILES),
    **settings: object,
) -> Build:
    settings = {"contexts": True, "core": "ctrace", "batch_s": 0.001, **settings}
    build = new_build(write_project(folder, files), **settings)
    build.launcher._python, build.launcher._worker = str(python), worker
    build.run_shard(build.plan())
    return build


def test_equal_cores_say_so_in_the_ledger_and_leave_the_coverage_alone(python, tmp_path):
    without = ran(tmp_path / "without", python).combine()
    build = ran(tmp_path / "with", python, compare_cores=100)
    combined = build.combine()
    cores = combined.ledger.cores
    assert cores is not None
    assert (cores.batches, cores.missed, cores.only_ours, cores.failing, cores.failures) == (2, 0, 0, 0, ())
    assert cores.pairs > 8
    assert "the cores for contexts agree on" in combined.ledger.notes[0]
    assert lines_of(combined.data_file) == lines_of(without.data_file)
    assert len(combined.ledger.data_files) == len(without.ledger.data_files)
    assert without.ledger.cores is None


@pytest.mark.parametrize(
    ("bits", "difference", "said", "advice"),
    [
        (
            "bits & ~(1 << 2)",
            "missed by monitor: app.py:2",
            "THE CORES DIFFER: covfleet's own misses 2 pairs, of ",
            'core = "ctrace"',
        ),
        (
            "bits | (bits & 1 << 2) << 2",
            "only seen by monitor: app.py:4",
            "covfleet's core for contexts sees 2 more than the C tracer, of ",
            "check whether these can run",
        ),
    ],
)
def test_a_line_on_which_the_cores_differ_is_named_with_its_context(
    python, tmp_path, bits, difference, said, advice
):
    worker = shutil.copytree(WORKER, tmp_path / WORKER.name)
    with (worker / "collector.py").open("a") as collector:
        collector.write(DISTORTED.format(bits=bits))
    build = ran(tmp_path / "p", python, worker, compare_cores=100)
    combined = build.combine()
    assert combined.ledger.verdict == "complete"
    cores = combined.ledger.cores
    assert cores is not None
    assert cores.differences == (
        f"{difference} (test_a.py::test_a|run)",
        f"{difference} (test_b.py::test_b|run)",
    )
    assert combined.ledger.notes[0].startswith(said)
    assert advice in combined.ledger.notes[0]


def test_its_workers_are_known_as_the_build_s(python, tmp_path, monkeypatch):
    launched: list[WorkerSpec] = []
    launch = ProcessLauncher.launch

    def look(self: ProcessLauncher, spec: WorkerSpec) -> ProcessWorker:
        launched.append(spec)
        return launch(self, spec)

    monkeypatch.setattr(ProcessLauncher, "launch", look)
    build = ran(tmp_path, python, compare_cores=100)
    assert len(launched) > 4
    assert {spec.labels["covfleet.build"] for spec in launched} == {build.keys.build}


def test_a_core_that_cannot_measure_is_a_note_and_the_batch_has_its_result(python, tmp_path):
    files = {**FILES, ".coveragerc": "[run]\nplugins = idle\n", "idle.py": "def coverage_init(*_): pass\n"}
    build = new_build(write_project(tmp_path, files), contexts=True, compare_cores=100)
    build.run_shard(build.plan())
    ledger = build.combine().ledger
    assert ledger.verdict == "complete"
    assert ledger.cores is not None
    assert "it doesn't support coverage.py's plugins" in ledger.cores.failures[0]
    assert any("couldn't be compared" in note for note in ledger.notes)
    assert not any("agree" in note for note in ledger.notes)


def test_a_test_that_fails_under_the_own_core_only_is_named(python, tmp_path):
    """At the limit of recursion there is no room for a callback, which is a function in Python."""
    files = {
        "app.py": "def down(log):\n    log.append(1)\n    try:\n        down(log)\n"
        "    finally:\n        log.append(-1)\n",
        "test_a.py": "import pytest\nfrom app import down\ndef test_balance():\n    log = []\n"
        "    with pytest.raises(RecursionError):\n        down(log)\n    assert sum(log) == 0\n",
    }
    build = ran(tmp_path, python, files=files, compare_cores=100)
    ledger = build.combine().ledger
    assert {outcome.outcome for outcome in build.outcomes().values()} == {"passed"}
    assert ledger.cores is not None
    assert ledger.cores.failing == 1
    assert ledger.cores.differences[0] == "fails under monitor only: test_a.py::test_balance"
    assert ledger.notes[0].startswith("THE CORES DIFFER: covfleet's own makes 1 test fail, of ")


def sights(*runs: set[tuple[str, int, str]]) -> list[Sight]:
    return [Sight(pairs) for pairs in runs]


def test_what_one_core_sees_in_some_runs_only_is_unstable_and_no_difference():
    a, b, c = (("app.py", line, "test|run") for line in (1, 2, 3))
    found = compare(sights({a, b}, {a}), sights({a, c}, {a}))
    assert found.is_equal
    assert found.unstable == {b, c}
    assert compare(sights({a, b}), sights({a, c})).missed == {b}
    assert compare(sights({a, b}), sights({a, c})).only_ours == {c}


def test_what_fails_in_some_runs_only_is_no_difference():
    fails, passes = Sight(set(), {"t"}), Sight(set())
    assert compare([passes, passes], [fails, fails]).failing == {"t"}
    assert compare([passes, passes], [fails, passes]).is_equal
    assert compare([passes, fails], [fails, fails]).is_equal
    assert compare([fails, fails], [passes, passes]).is_equal


@pytest.mark.parametrize(("own", "looks"), [([{1}], 1), ([{2}, {1}], 2), ([{2}, {2}, {2}], 3)])
def test_a_difference_is_believed_only_when_it_comes_again(own, looks):
    seen = iter([{("app.py", line, "") for line in lines} for lines in own])
    asked: list[tuple[str, bool]] = []

    def look(core: str, collect_garbage: bool) -> Sight:
        asked.append((core, collect_garbage))
        return Sight({("app.py", 1, "")} if core == "ctrace" else next(seen))

    found = compare_until_sure(look)
    assert asked == [(core, number > 0) for number in range(looks) for core in ("ctrace", "monitor")]
    assert found.is_equal == (own[-1] == {1})
