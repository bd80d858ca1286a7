"""The stores that the tests run on: a folder, and SeaweedFS with the bucket in the path and in the host."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from covfleet.adapters.stores import open_store
from covfleet.ports.object_store import ObjectStore
from covfleet.settings.schema import S3Settings, Settings
from support.seaweed import DOMAIN, Seaweed

KINDS = [
    "folder",
    pytest.param("s3-path", marks=pytest.mark.s3),
    pytest.param("s3-virtual", marks=pytest.mark.s3),
]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Settings]:
    """The URL of an empty store and the settings that open it."""
    if request.param == "folder":
        return str(tmp_path / "store"), Settings()
    seaweed: Seaweed = request.getfixturevalue("seaweed")
    url: str = request.getfixturevalue("s3_url")
    if request.param == "s3-path":
        return url, Settings(endpoint_url=seaweed.endpoint_url, s3=S3Settings(addressing="path"))
    request.getfixturevalue("localhost_domains")
    endpoint = f"http://{DOMAIN}:{seaweed.port}"
    return url, Settings(endpoint_url=endpoint, s3=S3Settings(addressing="virtual"))


@pytest.fixture
def store(place: tuple[str, Settings], tmp_path: Path) -> ObjectStore:
    url, settings = place
    return open_store(url, settings, tmp_path)


@pytest.fixture
def localhost_domains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve ``*.localhost`` to this machine (RFC 6761), which glibc alone doesn't."""
    resolve: Callable[..., Any] = socket.getaddrinfo

    def local(host: Any, *args: Any, **options: Any) -> Any:
        ours = isinstance(host, str) and host.endswith(".localhost")
        return resolve("127.0.0.1" if ours else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", local)
