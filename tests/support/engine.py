"""What `scripts/ci-services` starts, as fixtures for every test folder: `base_image` and `registry`."""

from __future__ import annotations

import os

import pytest

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
