"""The project's coverage settings, wherever they stand: covfleet's figures are those of one serial run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.fidelity import command, contexts, coverage_run, covfleet, project, pytest_cov

PASSED, BELOW_GATE = 0, 4


@dataclass(frozen=True)
class Case:
    """A way to say what is measured; the team's own command fails where covfleet's ``status`` isn't 0."""

    addopts: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    status: int = PASSED


PYTEST_COV = {
    "source, branches and a threshold that isn't met": Case(
        "--cov=shop --cov-branch --cov-fail-under=95", status=BELOW_GATE
    ),
    "a threshold that is met": Case("--cov=shop --cov-fail-under=50"),
    "the value as a word of its own": Case("--cov shop --cov-branch"),
    "a bare --cov measures what the file says": Case(
        "--cov", {".coveragerc": "[run]\nsource = shop\nomit = */unused.py\n"}
    ),
    "--cov=SOURCE wins over the file": Case("--cov=tests", {".coveragerc": "[run]\nsource = shop\n"}),
    "a file that --cov-config names": Case(
        "--cov --cov-config=ci/cov.ini",
        {
            "ci/cov.ini": "[run]\nsource = shop\nbranch = true\n[report]\nexclude_also = if a > 100\n",
            ".coveragerc": "[run]\nsource = tests\n",
        },
    ),
    "setup.cfg for pytest and coverage": Case(
        files={
            "setup.cfg": "[tool:pytest]\naddopts = --cov\n[coverage:run]\nbranch = true\nsource = shop\n",
            "pyproject.toml": "[tool.covfleet]\nbatch_s = 0.01\n",
        },
    ),
    "tox.ini for pytest and coverage": Case(
        files={
            "tox.ini": "[pytest]\naddopts = --cov --cov-branch\n[coverage:run]\nsource = shop\n",
            "pyproject.toml": "[tool.covfleet]\nbatch_s = 0.01\n",
        },
    ),
    "pytest.ini": Case(files={"pytest.ini": "[pytest]\naddopts = --cov=shop --cov-branch\n"}),
    "PYTEST_ADDOPTS": Case(env={"PYTEST_ADDOPTS": "--cov=shop --cov-branch --cov-fail-under=99"}, status=4),
    "a threshold in the file": Case(
        "--cov=shop", {".coveragerc": "[report]\nfail_under = 95\n"}, status=BELOW_GATE
    ),
    "--cov-fail-under wins over the file": Case(
        "--cov=shop --cov-fail-under=20", {".coveragerc": "[report]\nfail_under = 95\n"}
    ),
    "a source that can't be parsed is passed over": Case("--cov=shop", {"shop/broken.py": "def f(:\n"}),
}


@pytest.mark.parametrize("case", PYTEST_COV.values(), ids=PYTEST_COV.keys())
def test_pytest_cov_is_followed(tmp_path: Path, case: Case) -> None:
    app = project(tmp_path / "app", case.files, case.addopts)
    wanted = pytest_cov(app, tmp_path / "oracle", case.env)
    found = covfleet(app, 2, case.env)
    assert (found.status, wanted.status) == (case.status, int(case.status != PASSED)), found.output
    assert wanted.files
    assert (found.files, found.totals) == (wanted.files, wanted.totals)


INI = "[run]\nbranch = true\nsource = shop\nomit = */unused.py\n[report]\nfail_under = {}\nprecision = {}\n"

COVERAGE_RUN = {
    ".coveragerc": Case(files={".coveragerc": "[run]\nsource = shop\nbranch = true\nomit = */unused.py\n"}),
    ".coveragerc before pyproject.toml": Case(
        files={
            ".coveragerc": "[run]\nsource = shop\n",
            "setup.cfg": "[coverage:run]\nbranch = true\nsource = tests\n",
        }
    ),
    "COVERAGE_RCFILE, relative": Case(
        files={"ci/c.ini": INI.format(0, 0)}, env={"COVERAGE_RCFILE": "ci/c.ini"}
    ),
    "a variable in the file": Case(files={".coveragerc": "[run]\nsource = ${WHICH-shop}\nbranch = true\n"}),
    "values with commas, dollars and many lines": Case(
        files={
            ".coveragerc": "[run]\nsource =\n    shop\n    tests\nomit = */unused.py, tests/test_1.py\n"
            "[report]\nexclude_also =\n    return -1$$\n    if a, b\n",
        }
    ),
    "fail_under of 100 wants all": Case(
        files={".coveragerc": "[run]\nsource = shop\n[report]\nfail_under = 100\n"}, status=BELOW_GATE
    ),
    "fail_under is compared as it is shown": Case(files={".coveragerc": INI.format(67, 0)}),
    "fail_under with a precision": Case(files={".coveragerc": INI.format(67, 2)}, status=BELOW_GATE),
    "a fraction of a percent": Case(files={".coveragerc": INI.format(66.7, 0)}),
}


def test_one_shard_gives_the_same(tmp_path: Path) -> None:
    app = project(tmp_path / "app", {}, "--cov=shop --cov-branch --cov-fail-under=95")
    wanted, found = pytest_cov(app, tmp_path / "oracle"), covfleet(app, 1)
    assert (found.files, found.totals, found.status) == (wanted.files, wanted.totals, BELOW_GATE)


@pytest.mark.parametrize("case", COVERAGE_RUN.values(), ids=COVERAGE_RUN.keys())
def test_coverage_run_is_followed(tmp_path: Path, case: Case) -> None:
    app = project(tmp_path / "app", case.files)
    wanted = coverage_run(app, tmp_path / "oracle", case.env)
    found = covfleet(app, 2, case.env)
    assert (found.status, wanted.status) == (case.status, 2 if case.status else 0), found.output
    assert wanted.files
    assert (found.files, found.totals) == (wanted.files, wanted.totals)


def test_coverage_rcfile_may_lie_outside_the_project(tmp_path: Path) -> None:
    outside = tmp_path / "team.ini"
    outside.write_text("[run]\nsource = shop\nbranch = true\n")
    app, env = project(tmp_path / "app", {}), {"COVERAGE_RCFILE": str(outside)}
    wanted, found = coverage_run(app, tmp_path / "oracle", env), covfleet(app, 2, env)
    assert (found.files, found.totals) == (wanted.files, wanted.totals)


def test_arguments_for_pytest_are_followed_as_well(tmp_path: Path) -> None:
    app, args = project(tmp_path / "app", {}), ("--cov=shop", "--cov-branch", "tests/test_1.py")
    wanted, found = pytest_cov(app, tmp_path / "oracle", {}, *args), covfleet(app, 1, {}, "--", *args)
    assert found.status == 0, found.output
    assert (found.files, found.totals) == (wanted.files, wanted.totals)


def test_contexts_of_pytest_cov_are_recorded(tmp_path: Path) -> None:
    app = project(tmp_path / "app", {}, "--cov=shop --cov-context=test")
    wanted, found = pytest_cov(app, tmp_path / "oracle"), covfleet(app, 2)
    assert (found.files, found.totals) == (wanted.files, wanted.totals)
    ours, theirs = contexts(app / ".covfleet" / ".coverage"), contexts(tmp_path / "oracle" / ".coverage")
    assert {name for name in ours if name} == {name for name in theirs if name} != set()


def test_the_text_report_is_as_it_was_asked_for(tmp_path: Path) -> None:
    addopts = "--cov=shop --cov-branch --cov-precision=2 --cov-report=term-missing:skip-covered"
    app = project(tmp_path / "app", {}, addopts)
    wanted, found = pytest_cov(app, tmp_path / "oracle"), covfleet(app, 2)
    assert found.status == 0, found.output
    table = (app / ".covfleet" / "reports" / "coverage.txt").read_text()
    assert "Missing" in table
    assert table.strip() in wanted.output


def test_processes_of_multiprocessing_measure_with_the_same_settings(tmp_path: Path) -> None:
    files = {
        "ci/c.ini": "[run]\nsource = shop\nbranch = true\nconcurrency = multiprocessing\n"
        "omit = */unused.py\n",
        "tests/test_4.py": """
            import multiprocessing

            from shop import add


            def test_apart():
                process = multiprocessing.get_context("spawn").Process(target=add, args=(1000, 1))
                process.start()
                process.join()
        """,
    }
    app = project(tmp_path / "app", files, "--cov --cov-config=ci/c.ini")
    wanted, found = pytest_cov(app, tmp_path / "oracle"), covfleet(app, 2)
    assert (found.files, found.totals) == (wanted.files, wanted.totals)
    assert found.totals["missing_lines"] == 0


def test_plugins_configure_in_the_tests_interpreter(tmp_path: Path) -> None:
    """The plugin lies where only the tests' interpreter finds it, and says other things elsewhere."""
    files = {
        ".coveragerc": "[run]\nsource = shop\nplugins = house.rules\n",
        "house/__init__.py": "",
        "house/rules.py": """
            import sys

            from coverage import CoveragePlugin


            class Rules(CoveragePlugin):
                def configure(self, config):
                    lines = config.get_option("report:exclude_lines")
                    here = "_covfleet_worker" in sys.modules
                    config.set_option("report:exclude_lines", [*lines, *(["if a > 100"] if here else [])])
                    config.set_option("report:fail_under", 100)


            def coverage_init(reg, options):
                reg.add_configurer(Rules())
        """,
        "shop/unused.py": "",
    }
    app = project(tmp_path / "app", files)
    found = covfleet(app, 2)
    assert found.status == 0, found.output
    assert found.files["shop/__init__.py"]["excluded_lines"] == [2, 3]
    gate = command(app, "gate")
    assert gate.output == "fail_under of coverage.py's plugins  100%, required 100%\n"


def test_the_gate_says_where_the_threshold_stands(tmp_path: Path) -> None:
    files = {"tox.ini": "[coverage:run]\nsource = shop\n[coverage:report]\nfail_under = 95\n"}
    app = project(tmp_path / "app", files)
    assert "fail_under in tox.ini 50%, required 95%" in covfleet(app, 1).output
    gate = command(app, "gate")
    assert (gate.status, "fail_under in tox.ini 50%, required 95%" in gate.output) == (4, True)


REFUSED = {
    "--cov=shop --no-cov": "--no-cov, which switches coverage off",
    "--cov=shop --cov-append": "--cov-append, which adds to the data of an earlier run",
    "--cov=shop --cov-config=gone.ini": "there is no gone.ini",
    "--cov=shop --cov-config=broken.ini": "the project's coverage settings can't be read",
    "--cov=shop --cov-config=absurd.ini": "fail_under=101 is no percentage",
}


@pytest.mark.parametrize("addopts", REFUSED)
def test_what_cannot_be_followed_is_refused_by_name(tmp_path: Path, addopts: str) -> None:
    files = {"broken.ini": "[run]\nconcurrency = horses\n", "absurd.ini": "[report]\nfail_under = 101\n"}
    ran = covfleet(project(tmp_path / "app", files, addopts), 1)
    assert (ran.status, REFUSED[addopts] in ran.output) == (2, True), ran.output
    assert "Traceback" not in ran.output


def test_a_file_that_coverage_rcfile_names_in_vain_is_refused(tmp_path: Path) -> None:
    ran = covfleet(project(tmp_path / "app", {}), 1, {"COVERAGE_RCFILE": "ci/gone.ini"})
    assert (ran.status, "there is no file ci/gone.ini" in ran.output) == (2, True), ran.output


@pytest.mark.parametrize(
    ("addopts", "note"),
    [
        ("--cov-branch --cov-fail-under=95", "--cov-fail-under has no effect without --cov"),
        ("--cov=shop --cov-report=xml:out.xml", "covfleet writes coverage.xml among its reports"),
        ("--cov=shop --cov-report=annotate", "covfleet makes no such report"),
    ],
)
def test_what_is_otherwise_here_is_said(tmp_path: Path, addopts: str, note: str) -> None:
    app = project(tmp_path / "app", {}, addopts)
    assert covfleet(app, 1).status == 0
    assert note in (app / ".covfleet" / "reports" / "summary.md").read_text()


def test_failing_tests_lift_the_threshold_with_no_cov_on_fail(tmp_path: Path) -> None:
    files = {"tests/test_4.py": "def test_fails():\n    assert False\n"}
    addopts = "--cov=shop --cov-fail-under=95"
    lifted = project(tmp_path / "lifted", files, f"{addopts} --no-cov-on-fail")
    kept = project(tmp_path / "kept", files, addopts)
    assert (covfleet(lifted, 1).status, covfleet(kept, 1).status) == (3, 3)
    assert (command(lifted, "gate").status, command(kept, "gate").status) == (0, 4)
