"""Workers as plain subprocesses on this machine."""

from __future__ import annotations

import errno
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from covfleet.errors import ConfigurationError, WorkerError
from covfleet.ports.worker import WorkerExit, WorkerSpec
from covfleet.settings.installation import to_install

STDERR_TAIL_BYTES = 64 * 1024
_READ_BYTES = 1 << 16
_NOT_RUNNABLE = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENOEXEC, errno.EISDIR}
_KEPT_FROM_TESTS = (
    "AWS_",
    "COVFLEET_",
    "JENKINS_USER",  # and a token: covfleet's own credentials
    "JENKINS_TOKEN",
    "JENKINS_API_TOKEN",
    "COVERAGE_",
    "PYTEST_XDIST_",
    "PYTEST_CURRENT_TEST",
    "COV_CORE_",
)


def tests_environment(environ: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for the tests: ours, without credentials and variables of other test runs.

    The tested code is not trusted with credentials; ``env`` and ``env_pass`` name the variables that it does
    need. Compiled bytecode stays beside the sources, as after any run of pytest, so the next worker needn't
    compile.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith(_KEPT_FROM_TESTS)}
    return {**kept, **extra}


class ProcessLauncher:
    """Starts workers with the application's interpreter, each in its own process group.

    ``interpreter`` says which it is, and why, for humans.
    """

    def __init__(
        self, python: str, project: Path, environment: Mapping[str, str], worker: Path, interpreter: str = ""
    ) -> None:
        self._python = python
        self.interpreter = interpreter or python
        self._project = project
        self._environment = dict(environment)
        self._worker = worker

    def to_install(self, *requirements: str) -> str:
        """Return the command that installs packages into the workers' environment, ready to be pasted."""
        return to_install(Path(self._python), *requirements)

    def launch(self, spec: WorkerSpec) -> ProcessWorker:
        """Start a worker.

        Raises:
            ConfigurationError: there is no such interpreter, or it can't be run here.
            WorkerError: the machine can't start one more process.
        """
        command = [self._python, str(self._worker), str(spec.output_dir)]
        try:
            process = subprocess.Popen(
                command,
                cwd=self._project,
                env={**self._environment, **spec.environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            kind = ConfigurationError if error.errno in _NOT_RUNNABLE else WorkerError
            raise kind(
                f"can't run the application's interpreter {self.interpreter}: {error.strerror}",
                hint="Name the interpreter that runs the tests: --python, or `python` in [tool.covfleet].",
            ) from error
        return ProcessWorker(process)


class ProcessWorker:
    """A worker in a subprocess: two pipes, and a thread that keeps the end of its standard error."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self._buffer = bytearray()
        self._searched = 0
        self._tail = bytearray()
        self._drain = threading.Thread(target=self._drain_stderr, daemon=True)
        self._drain.start()
        self._exit: WorkerExit | None = None

    def _drain_stderr(self) -> None:
        with self._stderr:
            while chunk := os.read(self._stderr.fileno(), _READ_BYTES):
                self._tail += chunk
                del self._tail[:-STDERR_TAIL_BYTES]

    def send(self, line: bytes) -> None:
        """Write one line; ``receive`` notices a dead worker."""
        try:
            self._stdin.write(line)
            self._stdin.flush()
        except BrokenPipeError:
            return

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next line, or ``None`` after ``timeout_s`` seconds. Raises ``EOFError`` at the end."""
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            if not self._selector.select(timeout_s):
                return None
            chunk = os.read(self._stdout.fileno(), _READ_BYTES)
            if not chunk:
                raise EOFError
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def stop(self, grace_s: float) -> WorkerExit:
        """Stop the worker and all its children: SIGTERM, then SIGKILL after ``grace_s`` seconds."""
        if self._exit is None:
            self._signal_group(signal.SIGTERM)
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._signal_group(signal.SIGKILL)
                self._process.wait()
            self._signal_group(signal.SIGKILL)  # whatever it left running
            self._drain.join(timeout=1)  # a child in a session of its own may hold the pipe open
            tail = self._tail.decode("utf-8", "replace")
            self._exit = WorkerExit(self._process.returncode, stderr_tail=tail)
            self._close()
        return self._exit

    def _close(self) -> None:
        self._selector.close()
        self._stdout.close()
        try:
            self._stdin.close()
        except BrokenPipeError:  # an unsent command to a dead worker
            return

    def _signal_group(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return
