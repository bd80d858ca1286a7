"""covfleet's real worker in images that lack what it needs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from covfleet.adapters.docker.worker import DockerLauncher
from covfleet.adapters.processes.launchers import WORKER
from covfleet.errors import ConfigurationError, WorkerError
from covfleet.ports.worker import WorkerSpec
from covfleet.worker.client import StartOptions, WorkerClient
from covfleet.worker.events import Ready

pytestmark = pytest.mark.docker


def start(launcher: DockerLauncher, spec: WorkerSpec, *, needs_pytest: bool = True) -> Ready:
    options = StartOptions(
        pytest=needs_pytest, pytest_args=(), branch=None, contexts=False, core="ctrace", checkpoint_s=2
    )
    with WorkerClient(replace(launcher, worker=WORKER), spec, options) as worker:
        return worker.start(60)


def test_an_interpreter_that_the_image_lacks_is_named(launcher: DockerLauncher, spec: WorkerSpec) -> None:
    with pytest.raises(WorkerError, match="exec python9 failed"):
        start(replace(launcher, python="python9"), spec)


def test_an_image_without_coverage_is_refused(launcher: DockerLauncher, spec: WorkerSpec) -> None:
    with pytest.raises(ConfigurationError, match="has no coverage"):
        start(launcher, spec)


@pytest.mark.slow
def test_an_image_with_too_old_a_coverage_is_refused(
    launcher: DockerLauncher, spec: WorkerSpec, applications: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"coverage 7\.10\.5, which is too old"):
        start(replace(launcher, image=applications, python="/opt/old/bin/python"), spec)


@pytest.mark.slow
def test_an_image_without_pytest_serves_command_groups_only(
    launcher: DockerLauncher, spec: WorkerSpec, applications: str
) -> None:
    bare = replace(launcher, image=applications, python="/opt/bare/bin/python")
    assert start(bare, spec, needs_pytest=False).environment.coverage == "7.10.6"
    with pytest.raises(ConfigurationError, match="has no pytest"):
        start(bare, spec)
