"""Runs commands and says what they cost: wall clock, and CPU with everything that they started."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Cost:
    """Seconds that one or several commands took; CPU is user and system time of whole process trees."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float = 0.0  # resident memory of the largest process, and at least that of the measuring one

    def __add__(self, other: Cost) -> Cost:
        peak_mb = max(self.peak_mb, other.peak_mb)
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s, peak_mb)


def middle(costs: Sequence[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(
        median(cost.wall_s for cost in costs),
        median(cost.cpu_s for cost in costs),
        median(cost.peak_mb for cost in costs),
    )


@dataclass(frozen=True)
class Place:
    """Where commands run, and what they may end with: tests of other people may fail."""

    folder: Path
    environment: Mapping[str, str]
    log: Path
    good: frozenset[int]


def run(place: Place, *commands: Sequence[str | Path]) -> Cost:
    """Run commands side by side and return what they cost together.

    A process is counted with all its descendants that were waited for, as the kernel adds them up. Exits with
    the end of the log if a command ends otherwise than it should.
    """
    began = time.monotonic()
    with place.log.open("wb") as log:
        processes = [
            subprocess.Popen(command, cwd=place.folder, env=place.environment, stdout=log, stderr=log)
            for command in commands
        ]
        usages = [_usage_of(process) for process in processes]
    for command, process in zip(commands, processes, strict=True):
        if process.returncode not in place.good:
            tail = place.log.read_text("utf-8", "replace")[-4000:]
            sys.exit(f"{tail}\n{' '.join(map(str, command))} ended with {process.returncode}")
    cpu_s = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return Cost(time.monotonic() - began, cpu_s, max(usage.ru_maxrss for usage in usages) * 1024 / 1e6)


def _usage_of(process: subprocess.Popen[bytes]) -> resource.struct_rusage:
    """Wait for the process; return what its tree used."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


@dataclass(frozen=True)
class CpuTimes:
    """What the kernel knows of a process, in seconds of CPU; of children, those that have ended count."""

    parent: int
    own_s: float
    children_s: float


def cpu_times(pid: int) -> CpuTimes:
    """Return the CPU times of a process, which may be a zombie; the fields are those of proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, children_user, children_system = (
        int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in fields[11:15]
    )
    return CpuTimes(int(fields[1]), user + system, children_user + children_system)
