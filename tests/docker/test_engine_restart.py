"""The engine itself goes away while a worker runs. Each test has an engine of its own to kill."""

from __future__ import annotations

import gc
import io
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from covfleet.adapters.docker import worker as docker_worker
from covfleet.adapters.docker.worker import DockerLauncher
from covfleet.ports.worker import WorkerSpec
from covfleet.settings.schema import ContainerSettings
from support.controllers import HandClock
from support.needs import missing

pytestmark = [
    pytest.mark.docker,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # the SDK's, if connect fails
]

IMAGE = "covfleet-shell:1"
ECHO = "echo ready\nwhile read -r line; do echo $line; done\n"


class Engine:
    """A dockerd of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.host = f"unix://{folder}/sock"

    def start(self) -> None:
        folder = self._folder
        for left in (folder / "pid", folder / "exec/containerd/containerd.pid"):
            left.unlink(missing_ok=True)  # after SIGKILL; its process is dead, if perhaps a zombie
        quiet = ["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
        own = [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["dockerd", *quiet, *own, "-H", self.host], stdout=log, stderr=log
            )

    def wait(self) -> None:
        for _ in range(300):
            found = subprocess.run(["docker", "-H", self.host, "version"], check=False, capture_output=True)
            if found.returncode == 0:
                return
            assert self._process.poll() is None, (self._folder / "log").read_text()[-3000:]
            time.sleep(0.1)
        pytest.fail("the engine did not start in time")

    def end(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        self._process.wait(30)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None


def shell_image() -> bytes:
    """Return a file system with this machine's shell and its libraries, as a tar archive."""
    libraries = subprocess.run(["ldd", "/bin/sh"], check=True, capture_output=True, text=True).stdout
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in ["/bin/sh", *re.findall(r"(/\S+) \(", libraries)]:
            archive.add(os.path.realpath(path), arcname=path)
    return buffer.getvalue()


@pytest.fixture
def own_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    if not shutil.which("dockerd") or os.getuid() != 0:
        missing("the right to start a Docker engine", "run as root, with docker.io installed")
    folder = Path(tempfile.mkdtemp(prefix="covfleet-"))  # short: a socket's path has at most 107 bytes
    engine = Engine(folder)
    engine.start()
    engine.wait()
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    client = docker.from_env().api
    client.import_image_from_data(shell_image(), repository="covfleet-shell", tag="1")
    client.close()
    yield engine
    if not engine.runs:
        engine.start()
        engine.wait()
    engine.end(signal.SIGTERM)
    subprocess.run(["umount", "--lazy", folder / "data"], check=False, capture_output=True)  # after SIGKILL
    shutil.rmtree(folder)
    gc.collect()  # here, where the warning is expected


@pytest.fixture
def worker(own_engine: Engine, tmp_path: Path) -> docker_worker.DockerWorker:
    (tmp_path / "worker.sh").write_text(ECHO)
    (tmp_path / "out").mkdir()
    launcher = DockerLauncher(IMAGE, ContainerSettings(), "/bin/sh", {}, tmp_path / "worker.sh")
    worker = launcher.launch(WorkerSpec("covfleet-restart", {"covfleet.build": "1"}, tmp_path / "out"))
    assert worker.receive(60) == b"ready"
    return worker


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restarted_engine_ends_the_worker_and_its_container_is_removed(
    own_engine: Engine, worker: docker_worker.DockerWorker, number: signal.Signals
) -> None:
    own_engine.end(number)
    with pytest.raises(EOFError):
        worker.receive(60)
    own_engine.start()  # and not waited for: stop has to
    assert worker.stop(1).code != 0
    client = docker.from_env().api
    assert client.containers(all=True) == []
    client.close()


def test_an_engine_that_does_not_come_back_is_given_up_and_named(
    own_engine: Engine, worker: docker_worker.DockerWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    monkeypatch.setattr(docker_worker, "time", clock)
    own_engine.end(signal.SIGTERM)
    with pytest.raises(EOFError):
        worker.receive(60)
    before = clock.monotonic()
    ended = worker.stop(1)
    waited_s = clock.monotonic() - before
    assert 0 < waited_s - docker_worker._ENGINE_RETURN_S <= docker_worker._RETRY_S
    assert ended.code == -signal.SIGKILL
    assert f"no answer from the engine at {own_engine.host}" in ended.stderr_tail
