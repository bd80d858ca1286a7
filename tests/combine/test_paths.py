"""Which measured paths are the project's own: what is mapped, what is left out, what is refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from covfleet.combine.contents import CheckedData
from covfleet.combine.paths import (
    CoverageSettings,
    Resolution,
    collisions,
    look_alikes,
    read_settings,
    resolve,
)
from covfleet.errors import ConfigurationError

KNOWN = ("src/app/a.py", "src/app/b.py", "x/app/a.py", "app/a.py", "tests/test_a.py")
RULES = (("*/site-packages/app", "src/app"), ("/build/*/app/", "./src/app/"))


def decide(*paths: str, roots: tuple[str, ...] = (), rules: tuple = RULES) -> Resolution:
    return resolve(paths, known=KNOWN, roots=roots, rules=rules)


def executed(*paths: str) -> CheckedData:
    return CheckedData(Path("x"), ".coverage.x", False, frozenset(paths), frozenset(paths), 1, ())


def test_files_that_the_build_does_not_list_are_outside() -> None:
    paths = (
        "/tmp/pytest-0/x.py",
        "/etc/credentials.py",
        "generated.py",
        "/usr/lib/python3/site-packages/y.py",
    )
    resolution = decide(*paths)
    assert resolution.own == {}
    assert resolution.outside == tuple(sorted(paths))


def test_a_listed_file_stays_itself_even_if_a_rule_would_map_it() -> None:
    assert decide("x/app/a.py", rules=(("*/app", "app"),)).own == {"x/app/a.py": "x/app/a.py"}


@pytest.mark.parametrize("order", list(itertools.permutations(("x/app/a.py", "app/a.py", "y/app/a.py"))))
def test_folders_of_one_name_never_collapse(order: tuple[str, ...]) -> None:
    resolution = decide(*order, rules=())  # stock combine makes app/a.py of all three: coveragepy issue 2072
    assert resolution.own == {"x/app/a.py": "x/app/a.py", "app/a.py": "app/a.py"}
    assert resolution.outside == ("y/app/a.py",)


def test_no_rule_is_made_up_from_a_path() -> None:
    assert decide("app/x/app/a.py", rules=()).outside == ("app/x/app/a.py",)


def test_absolute_paths_below_a_root_are_the_projects() -> None:
    resolution = decide(
        "/agent1/w/src/app/a.py",
        "/agent2/w/src/app/a.py",
        "/agent1/w/z.py",
        roots=("/agent1/w", "/agent2/w/"),
    )
    assert set(resolution.own.values()) == {"src/app/a.py"}
    assert resolution.by_rule == frozenset()
    assert resolution.outside == ("/agent1/w/z.py",)


def test_a_root_is_a_folder_and_not_a_prefix() -> None:
    assert decide("/agent1/work2/src/app/a.py", roots=("/agent1/work",), rules=()).own == {}


@pytest.mark.parametrize(
    "path",
    ["/usr/lib/python3.12/site-packages/app/a.py", ".venv/lib/site-packages/app/a.py", "/build/77/app/a.py"],
)
def test_the_projects_own_rules_are_applied(path: str) -> None:
    resolution = decide(path)
    assert resolution.own == {path: "src/app/a.py"}
    assert resolution.by_rule == {path}


def test_a_rule_that_leads_to_no_listed_file_is_passed_over() -> None:
    assert decide("/usr/lib/site-packages/app/gone.py").outside == ("/usr/lib/site-packages/app/gone.py",)


def test_a_pattern_that_coverage_refuses_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="wildcard"):
        decide("/q/app/a.py", rules=(("/q/*", "src"),))


def test_two_executed_files_of_one_process_mapped_onto_one_are_refused() -> None:
    paths = ("/usr/lib/site-packages/app/a.py", "src/app/a.py")
    (problem,) = collisions(executed(*paths), decide(*paths))
    assert (problem.kind, problem.subject) == ("conflict", ".coverage.x")
    assert all(path in problem.detail for path in paths)


def test_a_touched_file_and_its_executed_copy_are_no_collision() -> None:
    copy, original = "/usr/lib/site-packages/app/a.py", "src/app/a.py"
    data = CheckedData(Path("x"), "x", False, frozenset({copy, original}), frozenset({copy}), 1, ())
    assert collisions(data, decide(copy, original)) == ()


def test_the_same_file_by_its_relative_and_its_absolute_name_is_no_collision() -> None:
    paths = ("/w/src/app/a.py", "src/app/a.py")
    assert collisions(executed(*paths), decide(*paths, roots=("/w",))) == ()


def test_one_source_under_the_roots_of_two_shards_is_no_collision() -> None:
    paths = ("/build/1/app/a.py", "/build/2/app/a.py")
    resolution = decide(*paths)
    assert [collisions(executed(path), resolution) for path in paths] == [(), ()]
    assert set(resolution.own.values()) == {"src/app/a.py"}


def test_copies_of_the_projects_files_outside_it_are_noticed() -> None:
    outside = ("/opt/app/a.py", "/opt/other/a.py")
    assert look_alikes(outside, KNOWN) == ("/opt/app/a.py",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".coveragerc", "[run]\nplugins = p.q\n[paths]\nall =\n    src\n    */site\n"),
        ("setup.cfg", "[coverage:run]\nplugins = p.q\n[coverage:paths]\nall =\n    src\n    */site\n"),
        ("tox.ini", "[coverage:run]\nplugins = p.q\n[coverage:paths]\nall =\n    src\n    */site\n"),
        (
            "pyproject.toml",
            "[tool.coverage.run]\nplugins=['p.q']\n[tool.coverage.paths]\nall=['src', '*/site']\n",
        ),
    ],
)
def test_the_projects_settings_are_found_wherever_they_stand(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_settings(tmp_path) == CoverageSettings(rules=(("*/site", "src"),), plugins=("p.q",))


def test_unreadable_settings_are_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.coverage.run\n")
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml"):
        read_settings(tmp_path)
