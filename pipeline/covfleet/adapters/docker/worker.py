"""Workers in containers: hardened, without credentials, controlled over the attached standard streams.

The image's interpreter runs covfleet's worker from a folder that is mounted read-only: nothing is installed
into the image. The engine must run on this machine, as this folder and the output folder are bind-mounted.
"""

from __future__ import annotations

import math
import os
import shlex
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from covfleet.adapters.docker.client import (
    ConflictError,
    EngineAwayError,
    MissingError,
    connect,
    engine_errors,
)
from covfleet.adapters.docker.interpreter import own_interpreter
from covfleet.adapters.docker.limits import container_user, hand_over, limits
from covfleet.adapters.docker.stream import AttachedStreams
from covfleet.errors import EngineError
from covfleet.ports.worker import WorkerExit, WorkerSpec
from covfleet.settings.schema import ContainerSettings

if TYPE_CHECKING:
    from docker import APIClient

WORKER_PATH = "/covfleet/covfleet_worker"
OUTPUT_PATH = "/covfleet/out"

_SILENCE_S = 60  # of the engine, during one request
_ENGINE_RETURN_S = 10.0  # enough for an engine to restart
_RETRY_S = 0.5
_DRAIN_S = 5.0
_SIGKILL = -9
_INIT_FAILED = "[FATAL tini"  # Docker's init starts first, so a missing interpreter doesn't fail the start
_LAST_SIGNAL = 64


@dataclass(frozen=True, slots=True)
class DockerLauncher:
    """``ports.WorkerLauncher`` that starts each worker in its own container.

    Attributes:
        image: reference or id of a local image.
        settings: limits and hardening.
        python: the interpreter inside the image.
        env: the environment of the tests in addition to the image's own; nothing else is passed on.
        worker: the worker on this machine, a folder or a file for ``python`` to run.
    """

    image: str
    settings: ContainerSettings
    python: str
    env: Mapping[str, str]
    worker: Path

    @property
    def interpreter(self) -> str:
        """What workers run on."""
        return f"{self.python} of the image {self.image}"

    def to_install(self, *requirements: str) -> str:
        """Return the line that the application's Dockerfile lacks."""
        return "RUN " + shlex.join([self.python, "-m", "pip", "install", *requirements])

    def launch(self, spec: WorkerSpec) -> DockerWorker:
        """Start a worker; first remove a leftover container of ours with the same name.

        Side effects: the output folder becomes writable for the container's user.

        Raises:
            EngineError: there is no engine or no such image, the name is taken, or the engine refuses.
            WorkerError: the output folder can't be made writable.
        """
        user = container_user(self.settings.user, os.getuid(), os.getgid())
        hand_over(spec.output_dir, user)
        client = connect(_SILENCE_S)
        try:
            container = self._create(client, spec, user)
            try:
                streams = self._start(client, container)
            except BaseException:
                _remove(client, container)
                raise
        except BaseException:
            client.close()
            raise
        return DockerWorker(client, container, streams, self._barred(user), keep=self.settings.keep)

    def _interpreter(self) -> tuple[str, str]:
        """Return the interpreter's path, and the folder that bars others from it, if there is one."""
        return own_interpreter(self.image, self.python)

    def _barred(self, user: str) -> str:
        """Return why the container's user can't run what the image itself would run; empty if it can."""
        path, folder = self._interpreter()
        if not folder:
            return ""
        return f"{path} is the image's own Python, but the container's user {user} may not enter {folder}"

    def _create(self, client: APIClient, spec: WorkerSpec, user: str) -> str:
        try:
            return self._create_once(client, spec, user)
        except MissingError as error:
            raise EngineError(
                f"no image {self.image} on this machine", hint="Build or pull it first with `covfleet image`."
            ) from error
        except ConflictError:
            _remove_leftover(client, spec)
            return self._create_once(client, spec, user)

    def _create_once(self, client: APIClient, spec: WorkerSpec, user: str) -> str:
        from docker.types import LogConfig  # noqa: PLC0415 - the SDK is imported on first use

        doing = f"create the container {spec.name} of the image {self.image}"
        mounts = _mounts({WORKER_PATH: self.worker, OUTPUT_PATH: spec.output_dir})
        with engine_errors(doing, hint="The engine must run on this machine: it mounts local files."):
            created = client.create_container(
                self.image,
                name=spec.name,
                entrypoint=[self._interpreter()[0], WORKER_PATH, OUTPUT_PATH],
                user=user,
                environment={
                    "HOME": "/tmp",  # noqa: S108
                    "PYTHONDONTWRITEBYTECODE": "1",
                    **self.env,
                    **spec.environment,
                },
                labels=dict(spec.labels),
                stdin_open=True,  # and closed when we are gone (StdinOnce): no orphan runs forever
                stop_signal="SIGTERM",
                healthcheck={"test": ["NONE"]},
                use_config_proxy=False,  # a proxy's URL may contain a password
                host_config=client.create_host_config(
                    **limits(self.settings),
                    mounts=mounts,
                    log_config=LogConfig(type="none"),  # a flood of output must not fill the engine's disk
                ),
            )
        return str(created["Id"])

    def _start(self, client: APIClient, container: str) -> AttachedStreams:
        with engine_errors(f"start a container of the image {self.image}"):
            wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            attached = client.attach_socket(container, params=wanted)
            connection = getattr(attached, "_sock", attached)
            connection.settimeout(None)
            streams = AttachedStreams(connection, getattr(attached, "_response", attached))
            try:
                client.start(container)
            except BaseException:
                streams.close(drain_s=0)
                raise
        return streams


class DockerWorker:
    """``ports.Worker`` in a container."""

    def __init__(
        self, client: APIClient, container: str, streams: AttachedStreams, barred: str = "", *, keep: bool
    ) -> None:
        self._client = client
        self._container = container
        self._streams = streams
        self._barred = barred
        self._keep = keep
        self._exit: WorkerExit | None = None

    def send(self, line: bytes) -> None:
        """Write one line; ``receive`` notices a dead worker."""
        self._streams.send(line)

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next line, or ``None`` after ``timeout_s`` seconds.

        Raises:
            EOFError: the worker, its container or the engine is gone.
            WorkerError: a line is longer than 16 MiB.
        """
        return self._streams.receive(timeout_s)

    def stop(self, grace_s: float) -> WorkerExit:
        """Stop the container: SIGTERM, then SIGKILL after ``grace_s`` seconds; remove it unless it is kept.

        An unavailable engine gets ten seconds to come back. If the container's exit status can't be read any
        more, it counts as SIGKILL, and the end of ``stderr_tail`` says why.
        """
        if self._exit is None:
            notes: list[str] = []
            state = self._end(grace_s, notes)
            stderr = self._streams.close(_DRAIN_S)
            if _INIT_FAILED in stderr:
                notes.append("covfleet: set image.python to the interpreter inside the image")
            if state and not self._keep:
                self._remove(notes)
            self._client.close()
            self._exit = WorkerExit(
                code=exit_code(state.get("ExitCode")),
                oom_killed=bool(state.get("OOMKilled")),
                stderr_tail="\n".join(filter(None, [stderr.rstrip("\n"), *notes])),
                barred=self._barred if _INIT_FAILED in stderr else "",
            )
        return self._exit

    def _end(self, grace_s: float, notes: list[str]) -> dict[str, Any]:
        deadline = time.monotonic() + _ENGINE_RETURN_S
        while True:
            try:
                with engine_errors("stop the worker's container"):
                    self._client.stop(self._container, timeout=math.ceil(grace_s))
                    return dict(self._client.inspect_container(self._container)["State"])
            except EngineAwayError as error:
                if time.monotonic() > deadline:
                    notes.append(f"covfleet: {error}")
                    return {}
                time.sleep(_RETRY_S)
            except EngineError as error:
                notes.append(f"covfleet: {error}")
                return {}

    def _remove(self, notes: list[str]) -> None:
        try:
            _remove(self._client, self._container)
        except EngineError as error:
            notes.append(f"covfleet: {error}")


def exit_code(code: int | None) -> int:
    """Return a container's exit status as in ``subprocess``: negative for signals; unknown is SIGKILL."""
    if code is None:
        return _SIGKILL
    return 128 - code if 128 < code <= 128 + _LAST_SIGNAL else code


def _mounts(paths: Mapping[str, Path]) -> list[Any]:
    from docker.types import Mount  # noqa: PLC0415 - the SDK is imported on first use

    return [
        Mount(target, str(source.resolve()), type="bind", read_only=target != OUTPUT_PATH)
        for target, source in paths.items()
    ]


def _remove_leftover(client: APIClient, spec: WorkerSpec) -> None:
    """Remove the container that has the name of ``spec``, if it has its labels, too."""
    with engine_errors(f"look at the container {spec.name}"):
        found = client.inspect_container(spec.name)
    labels = found["Config"].get("Labels") or {}
    if not spec.labels or any(labels.get(name) != value for name, value in spec.labels.items()):
        raise EngineError(
            f"the name {spec.name} is taken by a container that isn't this build's",
            hint=f"Rename it, or remove it with `docker rm -f {spec.name}`.",
        )
    _remove(client, found["Id"])


def _remove(client: APIClient, container: str) -> None:
    with suppress(MissingError), engine_errors(f"remove the container {container}"):
        client.remove_container(container, force=True, v=True)
