"""Workers in containers that tests can talk to."""

from __future__ import annotations

import hashlib
import io
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
from covfleet.ports.worker import Worker

from support.kept import locked

PUPPET = Path(__file__).parent / "puppet.py"

Launch = Callable[..., "Puppet"]


def build_image(client: docker.APIClient, reference: str, dockerfile: str) -> None:
    """Build an image without files of its own, with the SDK alone."""
    steps = io.BytesIO(textwrap.dedent(dockerfile).encode())
    log = list(client.build(fileobj=steps, tag=reference, rm=True, forcerm=True, decode=True))
    assert client.images(reference), log


def kept_image(
    client: docker.APIClient, repository: str, made_of: object, build: Callable[[str], object]
) -> str:
    """Return the image that ``build`` makes under the name it is given: once, for this and later runs.

    It is made anew when ``made_of`` is another value, and those of other values are removed.
    """
    tag = hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]
    image = f"{repository}:{tag}"
    with locked(f"images/{repository}"):
        if not client.images(image):
            for old in client.images(repository):
                client.remove_image(old["Id"], force=True)
            build(image)
    return image


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
