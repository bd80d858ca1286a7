"""Push to and pull from a real registry, and what it answers when it doesn't like us."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import pytest
from covfleet.adapters.docker.engine import DockerEngine
from covfleet.adapters.docker.registry import ecr_login
from covfleet.errors import EngineError
from covfleet.image.stage import ensure_image
from covfleet.model import Checkout
from covfleet.settings.schema import ImageSettings
from moto.server import ThreadedMotoServer
from support.needs import missing


def ignore(line: str) -> None:
    """A log that nobody reads."""


@pytest.fixture
def tiny(client: docker.APIClient, name: str) -> str:
    """A small image to push, and its name."""
    client.import_image_from_data(_one_file(), repository=name, tag="1")
    return name


def _one_file() -> bytes:
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("file"))
    return buffer.getvalue()


@pytest.mark.docker
def test_a_registry_that_is_not_there_is_named(
    engine: DockerEngine, client: docker.APIClient, tiny: str
) -> None:
    client.tag(f"{tiny}:1", f"127.0.0.1:1/{tiny}", "1")
    with pytest.raises(EngineError, match=f"push 127.0.0.1:1/{tiny}:1.*refused") as raised:
        engine.push(f"127.0.0.1:1/{tiny}:1", ignore)
    assert "image.repository" in raised.value.hint
    with pytest.raises(EngineError, match=r"pull 127\.0\.0\.1:1/app:1.*refused"):
        engine.pull("127.0.0.1:1/app:1", ignore)


@pytest.mark.docker
@pytest.mark.registry
def test_what_the_registry_does_not_have_is_none(engine: DockerEngine, registry: str) -> None:
    assert engine.pull(f"{registry}/absent:1", ignore) is None


@pytest.mark.docker
@pytest.mark.registry
def test_an_image_that_does_not_exist_cannot_be_pushed(engine: DockerEngine, registry: str) -> None:
    with pytest.raises(EngineError, match="does not exist"):
        engine.push(f"{registry}/absent:1", ignore)


@pytest.mark.docker
@pytest.mark.registry
def test_a_second_machine_pulls_instead_of_building(
    engine: DockerEngine, client: docker.APIClient, registry: str, tiny: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {tiny}:1\nCOPY . /app\n")
    settings = ImageSettings(repository=f"{registry}/{tiny}", dockerfile=Path("Dockerfile"), push=True)
    checkout = Checkout(str(tmp_path), "c0ffee", "main", ())
    log: list[str] = []

    def ensure() -> tuple[str, bool]:
        image = ensure_image(engine, settings, tmp_path, checkout, "1", rebuild=False, on_log=log.append)
        return image.digest, image.reused

    built, _ = ensure()
    client.remove_image(f"{registry}/{tiny}:c0ffee")
    log.clear()
    assert ensure() == (built, True)
    assert not [line for line in log if line.startswith("Step")]
    (tmp_path / "more").touch()
    client.remove_image(f"{registry}/{tiny}:c0ffee")
    digest, reused = ensure()
    assert (digest != built, reused) == (True, False)
    assert client.pull(f"{registry}/{tiny}", "c0ffee")
    assert client.inspect_image(f"{registry}/{tiny}:c0ffee")["Id"] == digest


class Tokens(BaseHTTPRequestHandler):
    """Gives a token to the one user that it knows."""

    def do_GET(self) -> None:
        known = "Basic " + base64.b64encode(b"me:pass").decode()
        ok = self.headers["Authorization"] == known
        self.send_response(200 if ok else 401)
        self.end_headers()
        if ok:
            self.wfile.write(b'{"token": "t"}')

    def log_message(self, *_args: object) -> None:
        return


@pytest.fixture
def strict_registry(tmp_path: Path) -> Iterator[str]:
    """A registry that wants a token, and a server that gives tokens for a password."""
    if not shutil.which("docker-registry"):
        missing("docker-registry", "apt-get install docker-registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tokens)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": {"silly": {"realm": f"http://127.0.0.1:{server.server_port}/", "service": "test"}},
    }
    (tmp_path / "registry.yml").write_text(json.dumps(settings))  # JSON is YAML
    with (tmp_path / "registry.log").open("wb") as log:
        command = ["docker-registry", "serve", tmp_path / "registry.yml"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(10)
    server.shutdown()
    server.server_close()


@pytest.mark.docker
@pytest.mark.filterwarnings("ignore:docker-credential-absent not installed")
def test_credentials_come_from_the_docker_configuration(
    client: docker.APIClient, strict_registry: str, tiny: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client.tag(f"{tiny}:1", f"{strict_registry}/{tiny}", "1")
    config = tmp_path / "config.json"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def push(content: dict[str, object]) -> None:
        config.write_text(json.dumps(content))
        engine = DockerEngine()
        try:
            engine.push(f"{strict_registry}/{tiny}:1", ignore)
        finally:
            engine.close()

    with pytest.raises(EngineError, match="can't push") as raised:
        push({})
    assert f"docker login {strict_registry}" in raised.value.hint
    with pytest.raises(EngineError, match="Credentials store error") as raised:
        push({"credsStore": "absent"})
    assert "credential helper" in raised.value.hint
    push({"auths": {strict_registry: {"auth": base64.b64encode(b"me:pass").decode()}}})


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS that consists of moto."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    yield
    server.stop()


def test_a_refused_ecr_token_is_an_error_that_names_the_registry(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(EngineError, match=r"123456789012\.dkr\.ecr") as raised:
        ecr_login("123456789012.dkr.ecr.eu-west-1.amazonaws.com/app")
    assert "ecr:GetAuthorizationToken" in raised.value.hint


@pytest.mark.parametrize(
    "registry",
    [
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
    ],
)
def test_ecr_gives_a_token(aws: None, registry: str) -> None:
    login = ecr_login(f"{registry}/team/app")
    assert login is not None
    assert login["username"] == "AWS"
    assert login["password"]


@pytest.mark.parametrize(
    "repository", ["app", "127.0.0.1:5000/app", "x123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.org/app"]
)
def test_no_other_registry_is_given_an_aws_token(repository: str) -> None:
    assert ecr_login(repository) is None
