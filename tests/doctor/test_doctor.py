"""What doctor finds, with the world as it may be: fakes of our own ports, and a real interpreter."""

from __future__ import annotations

import os
import sys
import venv
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from covfleet.adapters.processes.launchers import process_launcher
from covfleet.doctor.checks import Check, Machine, Subject, diagnose, exit_code
from covfleet.errors import ConfigurationError, EngineError, PipelineError, StoreError
from covfleet.model import Checkout, ImageRef
from covfleet.ports.engine import ContainerEngine
from covfleet.ports.object_store import ObjectStore
from covfleet.report.proof.record import Proof
from covfleet.settings.schema import ImageSettings, Settings

DOCKER = Settings(executor="docker")


class Engine:
    """An engine with one image."""

    def ping(self) -> str:
        return "28.1"

    def find_image(self, reference: str) -> ImageRef | None:
        return ImageRef(reference, "sha256:abc") if reference == "present:1" else None


class Store:
    """A store that is never asked anything by these tests."""

    url = "s3://bucket/prefix"


def raising(error: Exception) -> NoReturn:
    raise error


def subject(project: Path, settings: Settings | None = None) -> Subject:
    files = ("app.py", "tests/test_app.py")
    return Subject(
        machine=lambda: Machine(python="3.12.1", cores=4, free_bytes=50 * 1024**3, git="git version 2.50"),
        settings=lambda: settings or Settings(python=sys.executable),
        checkout=lambda: Checkout(str(project), "a" * 40, "main", files),
        reports=lambda: Proof("", 14, 0, ""),
        launcher=lambda settings: process_launcher(settings, project, os.environ),
        engine=lambda _settings: as_engine(Engine()),
        store=lambda _settings: as_store(Store()),
        probe_store=lambda _store: None,
    )


def as_engine(engine: object) -> ContainerEngine:
    return engine  # type: ignore[return-value]


def as_store(store: object) -> ObjectStore:
    return store  # type: ignore[return-value]


def found(checks: tuple[Check, ...], name: str) -> Check:
    (check,) = [check for check in checks if check.name == name]
    return check


@pytest.mark.parametrize(
    ("error", "code"),
    [(StoreError("gone", hint="check it"), 6), (ConfigurationError("wrong", hint="check it"), 2)],
)
def test_a_store_that_fails_is_named_with_what_to_do(tmp_path: Path, error: PipelineError, code: int) -> None:
    checks = diagnose(replace(subject(tmp_path), probe_store=lambda _store: raising(error)))
    check = found(checks, "store")
    assert (check.status, check.detail, check.fix, check.exit_code) == ("fail", str(error), "check it", code)
    assert exit_code(checks) == code


def test_a_bug_in_one_check_does_not_stop_the_others(tmp_path: Path) -> None:
    checks = diagnose(replace(subject(tmp_path), checkout=lambda: raising(ZeroDivisionError("oops"))))
    assert found(checks, "project").status == "fail"
    assert "oops" in found(checks, "project").detail
    assert found(checks, "store").status == "ok"


def test_wrong_settings_fail_and_what_needs_no_settings_is_still_examined(tmp_path: Path) -> None:
    checks = diagnose(replace(subject(tmp_path), settings=lambda: raising(ConfigurationError("3 faults"))))
    assert found(checks, "settings").status == "fail"
    assert found(checks, "project").status == "ok"
    assert exit_code(checks) == 2


def test_an_engine_is_required_for_containers_only(tmp_path: Path) -> None:
    def silent(_settings: Settings) -> ContainerEngine:
        raise EngineError("no answer", hint="start it")

    without = replace(subject(tmp_path), engine=silent)
    assert found(diagnose(without), "engine").status == "ok"
    checks = diagnose(replace(without, settings=lambda: DOCKER))
    assert (found(checks, "engine").status, found(checks, "engine").fix) == ("fail", "start it")
    assert [check.name for check in checks if check.status == "fail"] == ["engine"]
    assert exit_code(checks) == 6


@pytest.mark.parametrize(("base", "status"), [("present:1", "ok"), ("absent:1", "warn")])
def test_a_base_image_that_is_not_here_is_a_warning(tmp_path: Path, base: str, status: str) -> None:
    settings = Settings(executor="docker", image=ImageSettings(base=base))
    assert found(diagnose(subject(tmp_path, settings)), "base image").status == status


@pytest.mark.parametrize(
    ("change", "name"), [({"cores": 1}, "cores"), ({"free_bytes": 10**8}, "disk"), ({"git": ""}, "git")]
)
def test_a_weak_machine_is_a_warning(tmp_path: Path, change: dict[str, object], name: str) -> None:
    healthy = subject(tmp_path)
    machine = replace(healthy.machine(), **change)  # type: ignore[arg-type]
    checks = diagnose(replace(healthy, machine=lambda: machine))
    assert found(checks, name).status == "warn"
    assert exit_code(checks) == 0


def test_a_project_without_tests_is_a_warning_with_the_names_that_were_looked_for(tmp_path: Path) -> None:
    empty = Checkout(str(tmp_path), "a" * 40, "main", ("app.py",))
    check = found(diagnose(replace(subject(tmp_path), checkout=lambda: empty)), "project")
    assert check.status == "warn"
    assert "test_*.py" in check.detail


def test_reports_that_need_the_slow_way_are_a_warning_with_the_reason(tmp_path: Path) -> None:
    slow = Proof("would write another coverage.xml", 14, 0, "")
    checks = diagnose(replace(subject(tmp_path), reports=lambda: slow))
    check = found(checks, "reports")
    assert check.status == "warn"
    assert "one by one" in check.detail
    assert "the one pass would write another coverage.xml" in check.detail
    assert exit_code(checks) == 0


def test_an_interpreter_that_is_none_is_named(tmp_path: Path) -> None:
    checks = diagnose(subject(tmp_path, Settings(python="no-such-python")))
    check = found(checks, "project's Python")
    assert check.status == "fail"
    assert "no-such-python" in check.detail
    assert exit_code(checks) == 2


def test_an_interpreter_without_coverage_fails_with_the_fix(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    checks = diagnose(subject(tmp_path, Settings(python="bare/bin/python")))
    check = found(checks, "project's Python")
    assert check.status == "fail"
    assert "coverage" in check.detail
    assert "7.10.6" in check.fix
    assert exit_code(checks) == 2


def test_a_healthy_world_passes_and_says_what_it_runs_on(tmp_path: Path) -> None:
    checks = diagnose(subject(tmp_path))
    assert {check.status for check in checks} == {"ok"}, checks
    assert "pytest" in found(checks, "project's Python").detail
    assert exit_code(checks) == 0
