"""Every worker runs the interpreter that was planned, with the same distributions, wherever they lie."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from covfleet.errors import ConfigurationError
from covfleet.model import Environment
from covfleet.shard.interpreter import check_interpreter, differences
from support import oracle
from support.oracle import PYTEST, covfleet

PLANNED = Environment(
    python="3.14.0",
    pytest="9.0",
    coverage="7.11",
    platform="linux",
    implementation="cpython",
    executable="/a/bin/python",
    prefix="/a",
    path=("/a/lib",),
    distributions=("attrs==25.1", "requests==2.32", "pytest==9.0"),
)


def installed(folder: Path, **versions: str) -> str:
    """Make distributions in a folder as ``pip install --target`` does; return the folder."""
    for name, version in versions.items():
        metadata = folder / f"{name}-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return str(folder)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return oracle.app(tmp_path / "app", f'{PYTEST}[tool.coverage.run]\nsource = ["shop"]')


def planned(project: Path, **environ: str) -> dict[str, Any]:
    done = covfleet(project, "plan", "--build", "b", "--shards", "2", **environ)
    assert done.returncode == 0, done.stderr
    (plan,) = (project / ".covfleet" / "store").rglob("plan.json")
    return dict(json.loads(plan.read_text("utf-8")))


def test_the_plan_says_what_runs_the_tests(tmp_path: Path, project: Path) -> None:
    libraries = installed(tmp_path / "libraries", Some_Thing="1.0")
    environment = planned(project, PYTHONPATH=libraries)["environment"]
    assert environment["executable"] == sys.executable
    assert environment["prefix"] == sys.prefix
    assert environment["implementation"] == sys.implementation.name
    assert libraries in environment["path"]
    assert "some-thing==1.0" in environment["distributions"]
    assert any(each.startswith("pytest==") for each in environment["distributions"])


def test_a_shard_with_other_distributions_stops_and_names_them(tmp_path: Path, project: Path) -> None:
    here = installed(tmp_path / "here", thing="1.0", gone="3.1")
    there = installed(tmp_path / "there", thing="2.0", extra="4")
    planned(project, PYTHONPATH=here)
    for shard in ("1", "2"):
        done = covfleet(project, "shard", shard, "--build", "b", PYTHONPATH=there)
        assert done.returncode == 2, done.stderr
        assert f"shard {shard} runs another Python than the build was planned with" in done.stderr
        assert "extra 4, which wasn't there, no gone 3.1, thing 2.0 instead of 1.0" in done.stderr
        assert sys.executable in done.stderr


def test_the_same_distributions_elsewhere_are_the_same(tmp_path: Path, project: Path) -> None:
    here = installed(tmp_path / "here", thing="1.0")
    there = str(shutil.copytree(here, tmp_path / "there"))
    planned(project, PYTHONPATH=here)
    for shard in ("1", "2"):
        done = covfleet(project, "shard", shard, "--build", "b", PYTHONPATH=there)
        assert done.returncode == 0, done.stderr
    assert covfleet(project, "combine", "--build", "b").returncode == 0


def test_a_leftover_of_a_build_in_the_project_is_no_distribution(tmp_path: Path, project: Path) -> None:
    (project / "shop-0.1.egg-info").mkdir()
    (project / "shop-0.1.egg-info" / "PKG-INFO").write_text("Name: shop\nVersion: 0.1\n")
    assert "shop==0.1" not in planned(project)["environment"]["distributions"]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("python", "3.13.2", "Python 3.13.2 instead of 3.14.0"),
        ("implementation", "pypy", "implementation pypy instead of cpython"),
        ("pytest", "", "pytest (none) instead of 9.0"),
        ("coverage", "7.12", "coverage 7.12 instead of 7.11"),
        ("platform", "darwin", "platform darwin instead of linux"),
        ("distributions", ("attrs==25.1", "pytest==9.0"), "no requests 2.32"),
    ],
)
def test_each_difference_is_refused_by_name(field: str, value: Any, words: str) -> None:
    here = replace(PLANNED, **{field: value})
    with pytest.raises(ConfigurationError, match="shard 3 runs another Python") as refused:
        check_interpreter(3, PLANNED, here)
    assert words in str(refused.value)
    assert list(differences(PLANNED, here)) == [words]


def test_places_may_differ() -> None:
    check_interpreter(1, PLANNED, replace(PLANNED, executable="/b/python", prefix="/b", path=("/b/lib",)))
