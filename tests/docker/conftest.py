"""What the tests of images and containers share: the engine, the base image, and workers to talk to."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest
from covfleet.adapters.docker.engine import DockerEngine
from covfleet.adapters.docker.worker import DockerLauncher
from covfleet.ports.engine import BuildRequest
from covfleet.ports.worker import WorkerSpec
from covfleet.settings.schema import ContainerSettings
from support.containers import PUPPET, Launch, Puppet, kept_image
from support.needs import missing


@pytest.fixture
def client(base_image: str) -> Iterator[docker.APIClient]:
    """The SDK itself, to look at what we did."""
    api = docker.from_env().api
    yield api
    api.close()


@pytest.fixture
def engine(base_image: str) -> Iterator[DockerEngine]:
    engine = DockerEngine()
    yield engine
    engine.close()


@pytest.fixture
def name(client: docker.APIClient) -> Iterator[str]:
    """A name for the test's containers and images; whatever carries it is removed at the end."""
    name = f"covfleet-test-{uuid.uuid4().hex[:12]}"
    yield name
    for container in client.containers(all=True, filters={"name": name}):
        client.remove_container(container["Id"], force=True, v=True)
    tags = [tag for image in client.images() for tag in image["RepoTags"] or () if name in tag]
    for tag in tags:
        client.remove_image(tag, force=True)


@pytest.fixture
def output_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def spec(name: str, output_dir: Path) -> WorkerSpec:
    return WorkerSpec(name, {"covfleet.build": name, "covfleet.shard": "1"}, output_dir)


@pytest.fixture
def launcher(base_image: str) -> DockerLauncher:
    return DockerLauncher(base_image, ContainerSettings(), "python3", {}, PUPPET)


@pytest.fixture
def launch(launcher: DockerLauncher, spec: WorkerSpec) -> Iterator[Launch]:
    """Start puppets: ``launch(memory="64m", ...)``; they are stopped at the end."""
    started: list[Puppet] = []

    def start(
        launcher: DockerLauncher = launcher, env: Mapping[str, str] | None = None, **settings: Any
    ) -> Puppet:
        ready = replace(launcher, settings=ContainerSettings(**settings), env=env or {})
        started.append(Puppet(ready.launch(spec)))
        return started[-1]

    yield start
    for puppet in started:
        puppet.worker.stop(0)


DOCKERFILE = """
ARG BASE
ARG CA_IMAGE=${BASE}
FROM ${CA_IMAGE} AS ca
FROM ${BASE} AS build
ARG PIP_CERT
COPY --from=ca /tmp /covfleet-ca
RUN set -e; make() { python3 -m venv --without-pip $1; pip --python $1/bin/python install $2 $3; }; \\
    make /opt/old coverage==7.10.5; make /opt/bare coverage==7.10.6; make /opt/whole coverage==7.10.6 pytest
FROM ${BASE}
COPY --from=build /opt /opt
"""


@pytest.fixture(scope="session")
def applications(base_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with three environments in /opt: ``old`` coverage, ``bare`` of pytest, and the ``whole``."""
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if not bundle.exists():
        missing("the machine's CA bundle", "apt-get install ca-certificates")
    folder = tmp_path_factory.mktemp("applications")
    (folder / "Dockerfile").write_text(DOCKERFILE)

    def build(image: str) -> None:
        engine = DockerEngine()
        request = BuildRequest(folder, folder / "Dockerfile", image, {}, {"BASE": base_image}, bundle)
        engine.build(request, lambda line: None)
        engine.close()

    with contextlib.closing(docker.from_env().api) as client:
        made_of = (DOCKERFILE, client.inspect_image(base_image)["Id"])
        return kept_image(client, "covfleet-test-applications", made_of, build)
