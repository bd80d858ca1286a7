"""A worker elsewhere than in the checkout, as in an image: the checkout's settings count, or all stops."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from covfleet.adapters.processes import worker as processes
from covfleet.adapters.processes.launchers import WORKER
from covfleet.errors import IncompleteDataError
from covfleet.model import Plan
from covfleet.plan.collect import settings_files
from covfleet.settings.schema import Settings
from covfleet.store.encoding import from_json, to_json
from support.fidelity import APP
from support.runs import Build, lines_of, new_build, write_project

SETTINGS = "[run]\nsource = shop\nbranch = true\nomit = */unused.py\n[report]\nexclude_also = if a > 100\n"


def build_in(tmp_path: Path, image: dict[str, str | None], **checkout: str) -> Build:
    """Return a build of a checkout whose workers run in a copy with other files; ``None`` leaves one out."""
    app = write_project(tmp_path / "app", {**APP, ".coveragerc": SETTINGS, **checkout})
    elsewhere = Path(shutil.copytree(app, tmp_path / "image"))
    for name, content in image.items():
        if content is None:
            (elsewhere / name).unlink()
        else:
            (elsewhere / name).write_text(content)
    build, environment = new_build(app), processes.tests_environment(os.environ, {})
    build.launcher = processes.ProcessLauncher(sys.executable, elsewhere, environment, WORKER)
    return build


def test_an_image_without_the_file_measures_with_that_of_the_checkout(tmp_path: Path) -> None:
    build = build_in(tmp_path, {".coveragerc": None})
    plan = build.plan()
    assert plan.coverage is not None
    assert any("the image has no .coveragerc" in note for note in plan.coverage.notes)
    build.run_shard(plan)
    combined = build.combine()
    assert (plan.measurement.branch, combined.ledger.verdict) == (True, "complete")
    assert list(lines_of(combined.data_file)) == ["shop/__init__.py"]


def test_a_file_that_says_other_things_in_the_image_stops_the_plan(tmp_path: Path) -> None:
    build = build_in(tmp_path, {".coveragerc": SETTINGS.replace("shop", "tests")})
    with pytest.raises(IncompleteDataError) as caught:
        build.plan()
    assert caught.value.exit_code == 5
    assert '-  "shop"' in f"{caught.value}"
    assert '+  "tests"' in f"{caught.value}"


def test_a_file_that_differs_in_words_only_is_no_difference(tmp_path: Path) -> None:
    build = build_in(
        tmp_path, {".coveragerc": "# the image's\n" + SETTINGS.replace("branch = true", "branch=yes")}
    )
    assert build.plan().coverage is not None


def test_a_shard_whose_file_was_changed_after_the_plan_stops(tmp_path: Path) -> None:
    build = build_in(tmp_path, {})
    plan = build.plan()
    (tmp_path / "image" / ".coveragerc").write_text("[run]\nsource = shop\n")
    with pytest.raises(IncompleteDataError, match="shard 1 are not those that count"):
        build.run_shard(plan)


@pytest.mark.parametrize("content", ["[run]\nsource = tests\n", None])
def test_a_file_that_pytest_cov_names_is_the_checkouts_as_well(tmp_path: Path, content: str | None) -> None:
    checkout = {"cov.ini": SETTINGS, "pytest.ini": "[pytest]\naddopts = --cov --cov-config=cov.ini\n"}
    build = build_in(tmp_path, {"cov.ini": content}, **checkout)
    if content:
        with pytest.raises(IncompleteDataError, match=r"cov\.ini of the image"):
            build.plan()
        return
    plan = build.plan()
    assert plan.coverage is not None
    assert (plan.coverage.file, plan.measurement.branch) == ("cov.ini", True)


def test_nothing_outside_the_project_is_shown_to_the_tests(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("[run]\nbranch = true\n")
    app = write_project(
        tmp_path / "app", {**APP, "pytest.ini": "[pytest]\naddopts = --cov-config=../secret\n"}
    )
    (app / ".coveragerc").symlink_to(tmp_path / "secret")
    for rcfile in (None, str(tmp_path / "secret"), "../secret"):
        assert settings_files(app, Settings(rcfile=rcfile)).keys() == {"pyproject.toml", "pytest.ini"}


def test_only_the_image_has_the_file(tmp_path: Path) -> None:
    build = build_in(tmp_path, {"setup.cfg": "[coverage:run]\nsource = shop\nbranch = true\n"})
    (tmp_path / "app" / ".coveragerc").unlink()
    (tmp_path / "image" / ".coveragerc").unlink()
    plan = build.plan()
    assert plan.coverage is not None
    assert plan.coverage.file == "setup.cfg"
    build.run_shard(plan)
    assert build.combine().ledger.verdict == "complete"


def test_a_plan_of_version_1_is_still_followed(tmp_path: Path) -> None:
    build = build_in(tmp_path, {})
    plan = build.plan()
    old = from_json(Plan, to_json(replace(plan, coverage=None, version=1)), name="plan.json")
    build.run_shard(old)
    assert list(lines_of(build.combine().data_file)) == ["shop/__init__.py"]
