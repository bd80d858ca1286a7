"""What `scripts/ci-services` starts, as fixtures for every test folder: `base_image` and `registry`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import docker
import pytest
from covfleet.adapters.docker.engine import DockerEngine
from covfleet.ports.engine import BuildRequest

from support.containers import kept_image
from support.needs import missing

SERVICES = 'eval "$(scripts/ci-services)"'


@pytest.fixture(scope="session")
def base_image() -> str:
    """A Debian with Python, and an engine that has it."""
    image = os.environ.get("COVFLEET_TEST_BASE_IMAGE")
    if not os.environ.get("DOCKER_HOST") or not image:
        missing("a Docker engine with a base image", SERVICES)
    return image


@pytest.fixture(scope="session")
def registry() -> str:
    """Host and port of a registry that asks for no credentials."""
    address = os.environ.get("COVFLEET_TEST_REGISTRY")
    if not address:
        missing("a Docker registry", SERVICES)
    return address


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
