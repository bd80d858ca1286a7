"""covfleet's real worker in images that lack what it needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from support.needs import missing

from pipeline.adapters.docker_engine import DockerEngine
from pipeline.adapters.docker_worker import DockerLauncher
from pipeline.adapters.launchers import WORKER
from pipeline.errors import ConfigurationError, WorkerError
from pipeline.ports import BuildRequest, WorkerSpec
from pipeline.worker_client import Ready, StartOptions, WorkerClient

pytestmark = pytest.mark.docker

IMAGE = "covfleet-test-applications:1"
DOCKERFILE = """
ARG BASE
ARG CA_IMAGE=${BASE}
FROM ${CA_IMAGE} AS ca
FROM ${BASE} AS build
ARG PIP_CERT
COPY --from=ca /tmp /covfleet-ca
RUN python3 -m venv --without-pip /opt/old && pip --python /opt/old/bin/python install coverage==7.10.5 \\
 && python3 -m venv --without-pip /opt/bare && pip --python /opt/bare/bin/python install coverage==7.10.6
FROM ${BASE}
COPY --from=build /opt /opt
"""


@pytest.fixture(scope="module")
def applications(base_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image with two environments: one with too old a coverage, one without pytest."""
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if not bundle.exists():
        missing("the machine's CA bundle", "apt-get install ca-certificates")
    folder = tmp_path_factory.mktemp("applications")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    engine = DockerEngine()
    request = BuildRequest(folder, folder / "Dockerfile", IMAGE, {}, {"BASE": base_image}, bundle)
    engine.build(request, lambda line: None)
    engine.close()
    yield IMAGE
    client = docker.from_env().api
    client.remove_image(IMAGE, force=True)
    client.close()


def start(launcher: DockerLauncher, spec: WorkerSpec, *, needs_pytest: bool = True) -> Ready:
    options = StartOptions(
        pytest=needs_pytest, pytest_args=(), branch=None, contexts=False, core="ctrace", checkpoint_s=2
    )
    with WorkerClient(replace(launcher, plugin=WORKER), spec, options) as worker:
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
    with pytest.raises(ConfigurationError, match=r"coverage 7\.10\.5 .* too old"):
        start(replace(launcher, image=applications, python="/opt/old/bin/python"), spec)


@pytest.mark.slow
def test_an_image_without_pytest_serves_command_groups_only(
    launcher: DockerLauncher, spec: WorkerSpec, applications: str
) -> None:
    bare = replace(launcher, image=applications, python="/opt/bare/bin/python")
    assert start(bare, spec, needs_pytest=False).environment.coverage == "7.10.6"
    with pytest.raises(ConfigurationError, match="has no pytest"):
        start(bare, spec)
