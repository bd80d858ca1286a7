"""Settings from pyproject.toml, environment and flags: who wins, and that no fault hides another."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from covfleet.errors import ConfigurationError
from covfleet.settings.load import load_settings
from covfleet.settings.schema import Settings


def load(
    project: Path, toml: str = "", flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None
) -> Settings:
    if toml:
        (project / "pyproject.toml").write_text(toml, "utf-8")
    return load_settings(project, flags or {}, environ or {})


def faults(project: Path, toml: str = "", **sources: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(project, toml, **sources)
    assert caught.value.exit_code == 2
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_every_fault_of_every_source_is_reported_at_once(tmp_path: Path) -> None:
    toml = """
        [tool.covfleet]
        executor = "dockr"
        shard = 3
        [tool.covfleet.image]
        bse = "debian"
        [[tool.covfleet.groups]]
        name = "a b"
        command = "'"
        [[tool.covfleet.groups]]
        commnd = "python x.py"
    """
    environ = {"COVFLEET_SHARDS": "many", "COVFLEET_STROE": "x", "COVFLEET_IMAGE__BUILD_ARGS": "{"}
    lines = faults(tmp_path, toml, flags={"procs": 0, "publish.site": 4}, environ=environ)
    starts = [line.split(": ", 2)[:2] for line in lines]
    assert sorted(starts) == sorted(
        [
            ["COVFLEET_STROE", "unknown variable; perhaps you meant COVFLEET_STORE"],
            ["COVFLEET_IMAGE__BUILD_ARGS", "image.build_args"],
            ["COVFLEET_SHARDS", "shards"],
            ["--procs", "procs"],
            ["--site", "publish.site"],
            ["pyproject.toml", "executor"],
            ["pyproject.toml", "shard"],
            ["pyproject.toml", "image.bse"],
            ["pyproject.toml", "groups.0.name"],
            ["pyproject.toml", "groups.0.command"],
            ["pyproject.toml", "groups.1.name"],
            ["pyproject.toml", "groups.1.command"],
            ["pyproject.toml", "groups.1.commnd"],
        ]
    )


@pytest.mark.parametrize(
    ("toml", "meant"),
    [
        ("shard = 3", "shards"),
        ("batch-s = 3", "batch_s"),
        ('memory = "2g"', "container.memory"),
        ('image.bse = "x"', "image.base"),
        ("gate.totl = 80", "gate.total"),
    ],
)
def test_an_unknown_key_names_what_was_meant(tmp_path: Path, toml: str, meant: str) -> None:
    (line,) = faults(tmp_path, f"[tool.covfleet]\n{toml}")
    assert line.endswith(f"unknown setting; perhaps you meant {meant}")


def test_an_unknown_key_that_resembles_nothing_is_only_unknown(tmp_path: Path) -> None:
    assert faults(tmp_path, "[tool.covfleet]\nxyzzy = 3") == ["pyproject.toml: xyzzy: unknown setting"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("COVFLEET_IMAGE_BASE", "COVFLEET_IMAGE__BASE"),
        ("COVFLEET_SHARD", "COVFLEET_SHARDS"),
        ("COVFLEET_SHARDS__X", "COVFLEET_SHARDS"),
    ],
)
def test_an_unknown_variable_names_what_was_meant(tmp_path: Path, name: str, meant: str) -> None:
    (line,) = faults(tmp_path, environ={name: "1"})
    assert line == f"{name}: unknown variable; perhaps you meant {meant}"


def test_the_value_of_a_fault_is_shown(tmp_path: Path) -> None:
    (line,) = faults(tmp_path, environ={"COVFLEET_SHARDS": "many"})
    assert line.endswith("(it is 'many')")


@pytest.mark.parametrize(
    "sources",
    [
        {"toml": "[tool.covfleet.env]\nTOKEN = 4711"},
        {"environ": {"COVFLEET_IMAGE__BUILD_ARGS": "4711"}},
        {"environ": {"COVFLEET_ENV": "4711"}},
        {"toml": '[tool.covfleet]\napi_token = "4711"'},
        {"flags": {"shards": "https://user:4711@example.org"}},
    ],
)
def test_what_could_be_a_secret_is_not_shown(tmp_path: Path, sources: dict[str, Any]) -> None:
    (line,) = faults(tmp_path, **sources)
    assert "4711" not in line


@pytest.mark.parametrize(
    ("toml", "where"),
    [
        ("[tool.covfleet]\nshards = = 3", "line 2"),
        ("[tool.covfleet\n", "line 1"),
        ("\n\n[", "end of document"),
    ],
)
def test_broken_toml_names_file_and_line(tmp_path: Path, toml: str, where: str) -> None:
    with pytest.raises(ConfigurationError, match=where) as caught:
        load(tmp_path, toml)
    assert str(tmp_path / "pyproject.toml") in str(caught.value)


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml"):
        load(tmp_path)


@pytest.mark.parametrize("toml", ["tool = 3", "[tool]\ncovfleet = 3", "[[tool.covfleet]]\nshards = 1"])
def test_a_table_that_is_none_is_named(tmp_path: Path, toml: str) -> None:
    assert faults(tmp_path, toml) == ["pyproject.toml: [tool.covfleet] is not a table"]


def test_a_lease_shorter_than_two_heartbeats_is_refused(tmp_path: Path) -> None:
    (line,) = faults(tmp_path, environ={"COVFLEET_HEARTBEAT_S": "20"})
    assert line.startswith("lease_s must be at least twice heartbeat_s")


def test_two_groups_of_one_name_are_refused(tmp_path: Path) -> None:
    group = '[[tool.covfleet.groups]]\nname = "a"\ncommand = "python x.py"\n'
    (line,) = faults(tmp_path, group * 2)
    assert "several groups have the same name: a" in line


def test_flags_win_over_variables_and_variables_over_the_file(tmp_path: Path) -> None:
    toml = "[tool.covfleet]\nshards = 2\nprocs = 2\nbatch_s = 2\n"
    environ = {"COVFLEET_SHARDS": "3", "COVFLEET_PROCS": "3"}
    settings = load(tmp_path, toml, flags={"shards": 4, "procs": None}, environ=environ)
    assert (settings.shards, settings.procs, settings.batch_s) == (4, 3, 2)


def test_a_nested_value_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    toml = '[tool.covfleet.image]\nrepository = "mine"\nbase = "one"\nbuild_args.A = "1"\n'
    environ = {"COVFLEET_IMAGE__BASE": "two", "COVFLEET_IMAGE__BUILD_ARGS__Mixed__Case": "2"}
    image = load(tmp_path, toml, flags={"image.push": True}, environ=environ).image
    assert (image.repository, image.base, image.push) == ("mine", "two", True)
    assert image.build_args == {"A": "1", "Mixed__Case": "2"}


def test_the_variables_of_the_tests_keep_their_case(tmp_path: Path) -> None:
    assert load(tmp_path, environ={"COVFLEET_ENV__Django_Settings": "a.b"}).env == {"Django_Settings": "a.b"}


@pytest.mark.parametrize("value", ["tests/unit -k 'a b'", '["tests/unit", "-k", "a b"]'])
def test_lists_are_written_as_words_or_as_json(tmp_path: Path, value: str) -> None:
    assert load(tmp_path, environ={"COVFLEET_PYTEST_ARGS": value}).pytest_args == ("tests/unit", "-k", "a b")


def test_groups_may_come_as_json(tmp_path: Path) -> None:
    environ = {"COVFLEET_GROUPS": '[{"name": "trades", "command": "python -m unittest"}]'}
    assert [group.name for group in load(tmp_path, environ=environ).groups] == ["trades"]


def test_an_empty_variable_and_those_of_the_tests_and_of_others_are_left_alone(tmp_path: Path) -> None:
    environ = {
        "COVFLEET_STORE": "",
        "COVFLEET_TEST_ALL": "1",
        "COVFLEET_SERVICES": "x",
        "covfleet_shards": "9",
    }
    assert load(tmp_path, environ=environ) == Settings()


def test_thresholds_are_exact_decimals(tmp_path: Path) -> None:
    assert load(tmp_path, "[tool.covfleet.gate]\ntotal = 80.1\n").gate.total == Decimal("80.1")


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    assert load(tmp_path) == Settings()
