"""What the tests of images and containers share: the engine, the base image, and workers to talk to."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest
from covfleet.adapters.docker.engine import DockerEngine
from covfleet.adapters.docker.worker import DockerLauncher
from covfleet.ports.worker import WorkerSpec
from covfleet.settings.schema import ContainerSettings
from support.containers import PUPPET, Launch, Puppet


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
