"""Workers in containers that tests can talk to."""

from __future__ import annotations

import io
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
from covfleet.ports.worker import Worker

PUPPET = Path(__file__).parent / "puppet.py"

Launch = Callable[..., "Puppet"]


def build_image(client: docker.APIClient, reference: str, dockerfile: str) -> None:
    """Build an image without files of its own, with the SDK alone."""
    steps = io.BytesIO(textwrap.dedent(dockerfile).encode())
    log = list(client.build(fileobj=steps, tag=reference, rm=True, forcerm=True, decode=True))
    assert client.images(reference), log


class Puppet:
    """A worker that evaluates what it is told."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def tell(self, expression: str) -> None:
        self.worker.send(expression.encode() + b"\n")

    def ask(self, expression: str, timeout_s: float = 120) -> Any:
        """Return the value of a Python expression inside the container, or the text of its error."""
        self.tell(expression)
        line = self.worker.receive(timeout_s)
        assert line is not None, f"no answer to {expression}"
        answer = json.loads(line)
        return answer["value"] if "value" in answer else answer["error"]
