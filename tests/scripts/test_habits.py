"""The checks before a commit are those of scripts/test, with the same tools."""

from __future__ import annotations

import re
import tomllib

import yaml
from support.documents import ROOT


def test_pre_commit_runs_what_scripts_test_runs():
    script = (ROOT / "scripts" / "test").read_text("utf-8")
    checks = set(re.findall(r'^"\$covfleet_bin/(.+)$', script, re.MULTILINE))
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    entries = {hook["entry"].removeprefix(".venv/bin/") for hook in hooks}
    assert checks
    assert {check.replace('"', "") for check in checks} <= entries


def test_every_tool_that_pre_commit_runs_comes_with_the_environment():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {re.split(r"[<>=\[]", each)[0] for each in project["optional-dependencies"]["test"]}
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    for hook in hooks:
        program = hook["entry"].split()[0]
        if program.startswith(".venv/bin/"):
            assert {
                program.removeprefix(".venv/bin/"),
                f"{program.removeprefix('.venv/bin/')}-py",
            } & needed, program
        else:
            assert (ROOT / program).is_file(), program


def test_what_tools_leave_behind_is_ignored():
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert {".hypothesis/", ".cache/", ".venv/", ".covfleet/"} <= set(ignored)


def test_the_licence_is_the_whole_text():
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Version 2.0, January 2004" in text
    assert "APPENDIX: How to apply the Apache License to your work." in text
