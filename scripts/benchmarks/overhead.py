"""Whose CPU time it was: that of the tests' processes, or of covfleet's own."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import CORES, Race
from benchmarks.measure import CpuTimes, cpu_times

_LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class Overhead:
    """What ``covfleet run`` took until its last shard had ended: combining and reporting come after that."""

    wall_s: float
    tests_cpu_s: float  # workers, and all that the tests started; also the worker that collected for the plan
    own_cpu_s: float  # the run's process and the shards', which plan, hand out, watch, upload

    @property
    def share(self) -> float:
        """Own CPU time against that of the tests, 0 to 1."""
        return self.own_cpu_s / self.tests_cpu_s


def overhead(race: Race) -> Overhead:
    """Run the suite on two shards, look at the processes now and then, and return whose time it was."""
    place = race.place
    which = ("--project", race.project.root, "--commit", "bench", "--python", race.project.python)
    command = (*race.covfleet, "run", *which, "--shards", f"{CORES}", "--branch-coverage", "--", *race.tests)
    began = time.monotonic()
    with place.log.open("wb") as log:
        run = subprocess.Popen(command, cwd=place.folder, env=place.environment, stdout=log, stderr=log)
    shards: dict[int, CpuTimes] = {}  # as last seen
    while run.poll() is None:
        shards |= _shards_of(run.pid)
        if shards and not any(Path(f"/proc/{pid}").exists() for pid in shards):  # ended, and waited for
            break
        time.sleep(_LOOK_EVERY_S)
    else:
        sys.exit(f"{place.log.read_text()}\nthe run ended before it had shards")
    wall_s, main = time.monotonic() - began, cpu_times(run.pid)
    run.wait()
    own_of_shards_s = sum(shard.own_s for shard in shards.values())
    return Overhead(wall_s, main.children_s - own_of_shards_s, main.own_s + own_of_shards_s)


def _shards_of(parent: int) -> dict[int, CpuTimes]:
    """Return the CPU times of a run's live shards."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            times = cpu_times(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
        if times.parent == parent and b"shard" in words:
            found[int(folder.name)] = times
    return found
