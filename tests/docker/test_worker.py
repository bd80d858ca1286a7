"""Workers in real containers: what goes wrong with them, and what they may not do."""

from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from covfleet.adapters.docker.limits import container_user
from covfleet.adapters.docker.worker import DockerLauncher, exit_code
from covfleet.errors import EngineError, WorkerError
from covfleet.ports.worker import WorkerSpec
from support.containers import Launch, build_image
from support.mounts import tmpfs
from support.processes import wait_for

pytestmark = pytest.mark.docker


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # the SDK forgets it if connect fails
def test_without_an_engine_the_error_says_how_to_go_on(
    launcher: DockerLauncher, spec: WorkerSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(EngineError, match=r"none\.sock") as raised:
        launcher.launch(spec)
    assert "--executor process" in raised.value.hint
    del raised
    gc.collect()  # here, where the warning is expected


def test_an_image_that_is_not_there_is_named(launcher: DockerLauncher, spec: WorkerSpec) -> None:
    with pytest.raises(EngineError, match="no image covfleet-absent:1 on this machine"):
        replace(launcher, image="covfleet-absent:1").launch(spec)


def test_an_interpreter_that_is_not_in_the_image_is_named(launch: Launch, launcher: DockerLauncher) -> None:
    puppet = launch(replace(launcher, python="python9"))
    with pytest.raises(EOFError):
        puppet.worker.receive(10)
    ended = puppet.worker.stop(1)
    assert ended.code == 127
    assert "exec python9 failed: No such file" in ended.stderr_tail
    assert ended.stderr_tail.endswith("set image.python to the interpreter inside the image")


def test_a_container_that_the_engine_cannot_start_leaves_nothing(
    launch: Launch, spec: WorkerSpec, client: docker.APIClient
) -> None:
    with pytest.raises(EngineError, match="network covfleet-absent not found"):
        launch(network="covfleet-absent")
    assert client.containers(all=True, filters={"name": spec.name}) == []


def test_an_output_folder_that_does_not_exist_is_named(launcher: DockerLauncher, spec: WorkerSpec) -> None:
    with pytest.raises(WorkerError, match="absent"):
        launcher.launch(replace(spec, output_dir=spec.output_dir / "absent"))


@pytest.fixture
def read_only_dir(output_dir: Path) -> Iterator[Path]:
    with tmpfs(output_dir, "ro"):
        yield output_dir


def test_an_output_folder_that_is_not_writable_is_named(
    launcher: DockerLauncher, spec: WorkerSpec, read_only_dir: Path
) -> None:
    with pytest.raises(WorkerError, match=f"can't make {read_only_dir} writable for .* Read-only"):
        launcher.launch(spec)


def test_a_name_taken_by_a_stranger_is_an_error_and_the_stranger_lives(
    launcher: DockerLauncher, spec: WorkerSpec, client: docker.APIClient, base_image: str
) -> None:
    client.create_container(base_image, "true", name=spec.name, labels={"covfleet.build": "another"})
    with pytest.raises(EngineError, match=f"{spec.name} is taken") as raised:
        launcher.launch(spec)
    assert "docker rm" in raised.value.hint
    assert client.inspect_container(spec.name)["State"]["Status"] == "created"


def test_a_leftover_of_the_same_build_makes_room(
    launch: Launch, spec: WorkerSpec, client: docker.APIClient, base_image: str
) -> None:
    client.create_container(base_image, "true", name=spec.name, labels=dict(spec.labels))
    assert launch().ask("1 + 1") == 2


def test_a_container_removed_by_someone_else_ends_the_stream(
    launch: Launch, spec: WorkerSpec, client: docker.APIClient
) -> None:
    puppet = launch()
    assert puppet.ask("os.write(2, b'last words')") == 10
    client.remove_container(spec.name, force=True)
    with pytest.raises(EOFError):
        puppet.worker.receive(10)
    ended = puppet.worker.stop(5)
    assert ended.code == -signal.SIGKILL
    assert ended.stderr_tail.startswith("last words\ncovfleet: can't stop the worker's container: No such")


def test_a_killed_container_says_so(launch: Launch, spec: WorkerSpec, client: docker.APIClient) -> None:
    puppet = launch()
    client.kill(spec.name, signal.SIGKILL)
    with pytest.raises(EOFError):
        puppet.worker.receive(10)
    assert str(puppet.worker.stop(5)) == "killed by signal 9"


def test_too_much_memory_is_recognised(launch: Launch) -> None:
    puppet = launch(memory="48m")
    puppet.tell("len(bytearray(os.urandom(1)) * 200_000_000)")
    with pytest.raises(EOFError):
        puppet.worker.receive(30)
    ended = puppet.worker.stop(5)
    assert ended.oom_killed
    assert str(ended) == "killed for using too much memory"


def test_a_flood_on_standard_error_neither_blocks_nor_fills_memory(
    launch: Launch, spec: WorkerSpec, client: docker.APIClient
) -> None:
    puppet = launch()
    assert puppet.ask("[os.write(2, b'x' * 2**20) for _ in range(64)] and os.write(2, b'end')") == 3
    assert client.inspect_container(spec.name)["HostConfig"]["LogConfig"]["Type"] == "none"
    ended = puppet.worker.stop(5)
    assert len(ended.stderr_tail) == 64 * 1024
    assert ended.stderr_tail.endswith("xend")


def test_an_endless_line_is_an_error(launch: Launch) -> None:
    puppet = launch()
    puppet.tell("'x' * 17 * 2**20")
    with pytest.raises(WorkerError, match="line of more than"):
        puppet.worker.receive(30)


def test_sigterm_reaches_the_worker_and_its_data_stays(launch: Launch, output_dir: Path) -> None:
    puppet = launch()
    puppet.ask("signal.signal(15, lambda *_: ((OUT / 'saved').write_text('data'), os._exit(7))) and 0")
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(puppet.worker.stop, 600)
        wait_for(stopping.done, "the end of a worker that has ten minutes for it and needs none")
    assert stopping.result().code == 7
    assert (output_dir / "saved").read_text() == "data"


def test_a_worker_that_ignores_sigterm_is_killed_when_its_grace_is_over(launch: Launch) -> None:
    puppet = launch()
    puppet.ask("signal.signal(15, signal.SIG_IGN) and 0")
    assert puppet.worker.stop(0.5).code == -signal.SIGKILL


def test_stop_removes_the_container_and_can_be_called_twice(
    launch: Launch, spec: WorkerSpec, client: docker.APIClient
) -> None:
    puppet = launch()
    assert puppet.worker.stop(1) is puppet.worker.stop(1)
    assert client.containers(all=True, filters={"name": spec.name}) == []
    puppet.tell("1")
    with pytest.raises(EOFError):
        puppet.worker.receive(1)


def test_a_kept_container_can_be_looked_at(
    launch: Launch, spec: WorkerSpec, client: docker.APIClient
) -> None:
    launch(keep=True).worker.stop(1)
    assert client.inspect_container(spec.name)["State"]["Status"] == "exited"


def test_the_image_s_own_start_command_does_not_matter(
    launch: Launch, launcher: DockerLauncher, client: docker.APIClient, base_image: str, name: str
) -> None:
    dockerfile = f"""
        FROM {base_image}
        WORKDIR /srv
        ENTRYPOINT ["/broken"]
        CMD ["nonsense"]
        STOPSIGNAL SIGUSR1
        HEALTHCHECK --interval=1s CMD /broken
    """
    build_image(client, f"{name}:1", dockerfile)
    puppet = launch(replace(launcher, image=f"{name}:1"))
    assert puppet.ask("os.getcwd()") == "/srv"
    assert puppet.worker.stop(30).code == -signal.SIGTERM


def test_when_covfleet_is_killed_its_container_ends(
    launcher: DockerLauncher, spec: WorkerSpec, client: docker.APIClient
) -> None:
    script = f"""
import os, signal
from pathlib import Path
from covfleet.adapters.docker.worker import DockerLauncher
from covfleet.ports.worker import WorkerSpec
from covfleet.settings.schema import ContainerSettings
worker, folder = Path({str(launcher.worker)!r}), Path({str(spec.output_dir)!r})
launcher = DockerLauncher({launcher.image!r}, ContainerSettings(), "python3", {{}}, worker)
running = launcher.launch(WorkerSpec({spec.name!r}, {dict(spec.labels)!r}, folder))
running.send(b"1\\n")
assert running.receive(20)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert client.wait(spec.name, timeout=60)["StatusCode"] == 0


def test_a_worker_has_no_rights_that_it_does_not_need(launch: Launch) -> None:
    puppet = launch(pids=64)
    assert puppet.ask("os.getuid()") not in (0, None)
    assert puppet.ask("os.getgid()") != 0
    assert puppet.ask("open('/etc/hostname', 'w')").startswith("OSError: [Errno 30] Read-only")
    mounts = puppet.ask("Path('/proc/mounts').read_text()").splitlines()
    options = {mount.split()[1]: mount.split()[3].split(",") for mount in mounts}
    assert ("ro" in options["/covfleet/covfleet_worker"], "ro" in options["/covfleet/out"]) == (True, False)
    status = puppet.ask("Path('/proc/self/status').read_text()")
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert puppet.ask("os.listdir('/sys/class/net')") == ["lo"]
    spawn = "[threading.Thread(target=time.sleep, args=(9,), daemon=True).start() for _ in range(100)]"
    assert puppet.ask(spawn).startswith("RuntimeError: can't start new thread")


def test_a_worker_can_do_what_tests_do(launch: Launch, output_dir: Path) -> None:
    puppet = launch(env={"TZ": "UTC", "HOME": "/tmp/home"})
    assert puppet.ask("Path('/tmp/tool').write_text('#!/bin/sh\\necho works')") == 20
    assert puppet.ask("os.chmod('/tmp/tool', 0o755) or subprocess.getoutput('/tmp/tool')") == "works"
    assert puppet.ask("(OUT / 'data').write_text('x')") == 1
    assert (output_dir / "data").read_text() == "x"
    assert puppet.ask("[os.environ[name] for name in ('TZ', 'HOME', 'PYTHONDONTWRITEBYTECODE')]") == [
        *("UTC", "/tmp/home", "1")
    ]


def test_settings_reach_the_container(launch: Launch, spec: WorkerSpec, client: docker.APIClient) -> None:
    launch(memory="96m", cpus=0.5, pids=99, network="host", read_only=False, user="1234", tmpfs="8m")
    found = client.inspect_container(spec.name)
    host = found["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (96 * 2**20, 96 * 2**20) or host["MemorySwap"] == -1
    assert (host["NanoCpus"], host["PidsLimit"]) == (500_000_000, 99)
    assert (host["NetworkMode"], host["ReadonlyRootfs"]) == ("host", False)
    assert host["Tmpfs"] == {"/tmp": "size=8m,mode=1777,exec"}
    assert found["Config"]["User"] == "1234:1234"


def test_no_secret_reaches_the_container(
    launch: Launch,
    spec: WorkerSpec,
    client: docker.APIClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"proxies": {"default": {"httpProxy": "http://me:geheim@proxy:1"}}})
    )
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "geheim")
    monkeypatch.setenv("COVFLEET_STORE", "s3://geheim")
    puppet = launch(env={"PLAIN": "1"})
    assert "geheim" not in json.dumps(client.inspect_container(spec.name))
    environment = puppet.ask("dict(os.environ)")
    assert "PLAIN" in environment
    assert not [key for key in environment if key.startswith(("AWS_", "COVFLEET_", "HTTP", "http"))]


@pytest.mark.parametrize(
    ("wanted", "uid", "gid", "user"),
    [
        ("", 0, 0, "65534:65534"),
        ("", 1000, 100, "1000:100"),
        ("7", 0, 0, "7:7"),
        ("7:8", 1000, 100, "7:8"),
    ],
)
def test_the_container_s_user(wanted: str, uid: int, gid: int, user: str) -> None:
    assert container_user(wanted, uid, gid) == user


@pytest.mark.parametrize(
    ("status", "code"), [(0, 0), (1, 1), (128, 128), (137, -9), (143, -15), (255, 255), (None, -9)]
)
def test_exit_codes_are_those_of_subprocess(status: int | None, code: int) -> None:
    assert exit_code(status) == code
