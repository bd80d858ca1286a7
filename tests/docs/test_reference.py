"""The generated pages say what the program does now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from covfleet import cli
from reference.__main__ import difference
from support.documents import assert_documented
from support.runs import write_project

PROJECT = {
    "pyproject.toml": """
        [tool.coverage.run]
        source = ["app"]
        [tool.covfleet]
        shards = 1
        [tool.covfleet.gate]
        total = 50
    """,
    "app.py": "def double(x):\n    return 2 * x\n",
    "test_app.py": "import app\n\n\ndef test_double():\n    assert app.double(2) == 4\n",
}


def test_the_generated_pages_are_up_to_date():
    assert difference() == "", "run scripts/docs write"


def test_what_the_stages_print_for_programs_has_the_documented_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(write_project(tmp_path / "project", PROJECT))
    commit = ("--commit", "c0ffee")
    for command, *arguments in (
        ("plan", *commit, "--build", "b1"),
        ("shard", "1", *commit),
        ("combine", *commit),
        ("report", *commit),
        ("gate", *commit),
        ("publish", *commit, "--site", "../site"),
        ("builds", "c0ffee"),
        ("recombine", "c0ffee", "--output", "../results"),
        ("fetch", "c0ffee", "../data"),
        ("run", *commit, "--build", "b2"),
        ("doctor",),
    ):
        status = cli.status([command, *arguments, "--json"])
        said = capsys.readouterr()
        assert status == 0, (command, said.err)
        assert_documented(command, json.loads(said.out))
