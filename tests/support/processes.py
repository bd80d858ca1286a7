"""Processes of this machine, as Linux tells of them: who runs with what on the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def pids_with(text: str) -> list[int]:
    """Return the live processes, but this one, that have ``text`` in their command line."""
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in found if pid != os.getpid() and text in _command_line(pid)]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def kill_one_with(text: str) -> bool:
    """``kill -9`` a process that has ``text`` in its command line; say whether there was one."""
    for pid in pids_with(text):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        return True
    return False


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 120.0) -> None:
    """Return once the condition holds; fail if it hangs, which is the only meaning of the time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)


COVFLEET = (sys.executable, "-P", "-m", "covfleet")
"""The command, as a process of the environment that runs the tests."""


def without_settings() -> dict[str, str]:
    """Return this environment without what would be settings of covfleet."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVFLEET_")}


def covfleet(
    project: Path, *arguments: str | Path, timeout_s: float = 300.0, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run ``covfleet`` in the project's folder as a real process; return what it said and how it ended."""
    return subprocess.run(
        [*COVFLEET, *map(str, arguments)],
        cwd=project,
        env=without_settings() | environ,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def start_covfleet(*arguments: str | Path, log: Path, **environ: str) -> subprocess.Popen[bytes]:
    """Start ``covfleet`` as a real process; all it says goes to ``log``."""
    command = [*COVFLEET, *map(str, arguments)]
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=without_settings() | environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
