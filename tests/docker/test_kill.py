"""``kill -9`` of workers' containers at random points, as ``tests/chaos`` has it for processes."""

from __future__ import annotations

import signal
from pathlib import Path
from random import Random

import docker
import pytest
from covfleet.adapters.docker.engine import DockerEngine
from covfleet.adapters.docker.worker import DockerLauncher
from covfleet.adapters.processes.launchers import WORKER
from covfleet.ports.engine import BuildRequest
from covfleet.settings.schema import ContainerSettings
from support.spread import digest_of_complete, plan_spread_project, run_and_kill

pytestmark = [pytest.mark.docker, pytest.mark.slow]

SEEDS = range(20)
DOCKERFILE = "ARG BASE\nFROM ${BASE}\nWORKDIR /app\nCOPY . .\n"


def test_killed_containers_lose_nothing(
    applications: str, engine: DockerEngine, client: docker.APIClient, name: str, tmp_path: Path
) -> None:
    def launcher_for(project: Path) -> DockerLauncher:
        dockerfile = tmp_path / "Dockerfile"
        dockerfile.write_text(DOCKERFILE)
        engine.build(BuildRequest(project, dockerfile, f"{name}:1", {}, {"BASE": applications}), print)
        return DockerLauncher(f"{name}:1", ContainerSettings(), "/opt/whole/bin/python", {}, WORKER)

    def kill_one_of(shard: int) -> bool:
        label = [f"covfleet.build={name}", f"covfleet.shard={shard}"]
        containers = client.containers(filters={"label": label})
        for container in containers:
            client.kill(container["Id"], signal.SIGKILL)
        return bool(containers)

    planned = plan_spread_project(tmp_path, name, launcher_for)
    killed = 0
    for seed in SEEDS:
        folder = tmp_path / f"seed-{seed}"
        folder.mkdir()
        build = planned.copy(folder)
        killed += run_and_kill(planned, build, Random(f"container {seed}"), kill_one_of)
        assert digest_of_complete(build) == planned.digest, f"with seed {seed}"
        assert client.containers(all=True, filters={"label": f"covfleet.build={name}"}) == []
    assert killed > len(SEEDS) / 2  # most moments find a container
