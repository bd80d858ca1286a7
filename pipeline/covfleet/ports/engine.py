"""A container engine: the images that workers run in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from covfleet.model import ImageRef


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """An image to build. Paths are the agent's; ``dockerfile`` may lie outside ``context``."""

    context: Path
    dockerfile: Path
    reference: str  # repository:tag
    labels: Mapping[str, str]
    build_args: Mapping[str, str]
    ca_bundle: Path | None = None  # given to the build's steps, never left in the image
    ignore: tuple[str, ...] = ()  # patterns as in .dockerignore, applied before those of the context's own


class ContainerEngine(Protocol):
    """Images: build, look up, push, pull. Containers are started by the docker ``WorkerLauncher``."""

    def ping(self) -> str:
        """Return the engine's version. Raises ``EngineError`` if none answers."""

    def find_image(self, reference: str) -> ImageRef | None:
        """Return the local image, or ``None``."""

    def image_labels(self, reference: str) -> Mapping[str, str]:
        """Return a local image's labels. Raises ``EngineError`` if there is no such image."""

    def inputs_digest(self, request: BuildRequest) -> str:
        """Return a hash of what decides the result: Dockerfile, build arguments, files of the context."""

    def build(self, request: BuildRequest, on_log: Callable[[str], None]) -> ImageRef:
        """Build, calling ``on_log`` with each line. Raises ``EngineError`` with the last lines."""

    def push(self, reference: str, on_log: Callable[[str], None]) -> None:
        """Push to the registry that the reference names."""

    def pull(self, reference: str, on_log: Callable[[str], None]) -> ImageRef | None:
        """Pull; ``None`` if the registry doesn't have it."""
