"""Test files that hold no test to run: a serial run imports them, and so does a shard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.runs import Build, lines_of, new_build, write_project

FILES = {
    "pytest.ini": "[pytest]\nmarkers = slow\n",
    "app.py": "def used(): return 1\n\ndef registered(): return 2\n",
    "tests/test_fast.py": "from app import used\ndef test_fast(): assert used() == 1\n",
    "tests/test_slow.py": """
        import pytest
        from app import registered
        NUMBER = registered()

        @pytest.mark.slow
        def test_slow(): assert NUMBER == 2
    """,
    "tests/test_helpers.py": "def helper():\n    return 3\n",
}


def serial_lines(project: Path, *arguments: str) -> dict[str, list[int]]:
    """Return the lines that one stock ``coverage run -m pytest`` executes."""
    data_file = project.parent / "serial.coverage"
    command = [sys.executable, "-m", "coverage", "run", f"--data-file={data_file}", "--source=."]
    subprocess.run([*command, "-m", "pytest", "-q", *arguments], cwd=project, check=True, capture_output=True)
    return {Path(file).relative_to(project).as_posix(): lines for file, lines in lines_of(data_file).items()}


def distributed_lines(build: Build) -> dict[str, list[int]]:
    plan = build.plan()
    for shard in range(1, plan.shards + 1):
        build.run_shard(plan, shard)
    combined = build.combine()
    assert combined.ledger.verdict == "complete"
    return lines_of(combined.data_file)


def test_a_file_whose_tests_are_all_deselected_is_imported_as_in_a_serial_run(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", FILES)
    build = new_build(project, pytest_args=("-m", "not slow"), batch_s=0.001)
    assert distributed_lines(build) == serial_lines(project, "-m", "not slow")
    assert list(build.outcomes()) == ["tests/test_fast.py::test_fast"]


def test_modules_of_a_package_that_hold_no_doctest_are_imported_once(tmp_path: Path) -> None:
    files = {
        "pkg/__init__.py": "",
        "pkg/one.py": 'def one():\n    """\n    >>> one()\n    1\n    """\n    return 1\n',
        "pkg/two.py": "TWO = [n for n in range(2)]\n",
        "pkg/three.py": "from pkg import two\n",
    }
    project = write_project(tmp_path / "project", files)
    build = new_build(project, pytest_args=("--doctest-modules",), batch_s=0.001)
    assert distributed_lines(build) == serial_lines(project, "--doctest-modules")


def test_a_file_to_import_that_cannot_be_is_an_error_by_name(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", FILES)
    build = new_build(project, pytest_args=("-m", "not slow"))
    plan = build.plan()
    assert [batch.imports for batch in plan.batches] == [("tests/test_helpers.py", "tests/test_slow.py")]
    (project / "tests" / "test_slow.py").write_text("import no_such_module\n")
    assert build.run_shard(plan).tests_failed == 1
    outcome = build.outcomes()["tests/test_slow.py"]
    assert outcome.outcome == "error"
    assert "no_such_module" in outcome.output


def test_files_that_rely_on_each_other_s_imports_pass_when_every_shard_imports_all(tmp_path: Path) -> None:
    files = {
        "registry.py": "NAMES = []\n",
        "test_a.py": "import registry\nregistry.NAMES.append('a')\ndef test_a(): pass\n",
        "test_b.py": "import registry\ndef test_b(): assert registry.NAMES == ['a']\n",
    }
    project = write_project(tmp_path / "project", files)
    alone = new_build(project, shards=2, batch_s=0.001)
    plan = alone.plan()
    alone.run_shard(plan, 2)  # takes test_b.py first
    assert alone.outcomes()["test_b.py::test_b"].outcome == "failed"

    together = new_build(project, shards=2, batch_s=0.001, import_all=True)
    together.keys = together.keys.of_commit.build("b2")
    together.run_shard(together.plan(), 2)
    assert {outcome.outcome for outcome in together.outcomes().values()} == {"passed"}
