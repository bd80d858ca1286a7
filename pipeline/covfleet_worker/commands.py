"""Execute the agent's commands one by one, including the one that needs no pytest."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any, Callable

from .channel import Channel, shortened
from .measurement import WorkerCoverage
from .scope import Scope
from .verdicts import failure


def serve(
    channel: Channel, measurement: WorkerCoverage, commands: dict[str, Callable[[dict[str, Any]], None]]
) -> None:
    """Execute the agent's commands one by one until the input ends."""
    while True:
        command = channel.receive()
        if command is None or command["do"] == "quit":
            return
        if command["do"] == "scope":
            tell_scope(channel, measurement.scope, command["known"])
        elif command["do"] == "command":
            run_command(channel, measurement, command)
        else:
            commands[command["do"]](command)


def tell_scope(channel: Channel, scope: Scope, known: list[str]) -> None:
    """Tell the agent which files the settings select that it doesn't know, and then what selects them."""
    for file in scope.unknown_files(known):
        channel.send("selected", **file)
    channel.send("scope", scope={"entries": scope.described(), "limited": scope.is_limited()})


def run_command(channel: Channel, measurement: WorkerCoverage, command: dict[str, Any]) -> None:
    """Run a suite that doesn't use pytest: ``python ...`` becomes ``python -m coverage run ...``."""
    test, argv = command["id"], command["argv"]
    channel.send("running", tests=[test])
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", "coverage", "run", f"--rcfile=:data:{measurement.child_config}", *argv[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "COVERAGE_PROCESS_CONFIG"},
    )
    output = shortened(ran.stdout.decode("utf-8", "replace"))
    outcome = failure(test, "failed" if ran.returncode else "passed", "", output if ran.returncode else "")
    outcome["duration_s"] = time.monotonic() - began
    if ran.returncode:
        outcome["message"] = f"exit status {ran.returncode}"
    channel.send("test", **outcome)
    files = measurement.adopt_children()
    channel.send("done", files=files, notes=[], observed=measurement.observed())
