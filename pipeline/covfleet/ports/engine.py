"""The port to a container engine: the images that workers run in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from covfleet.model import ImageRef


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """An image to build. Paths are on the agent; ``dockerfile`` may be outside ``context``."""

    context: Path
    dockerfile: Path
    reference: str  # repository:tag
    labels: Mapping[str, str]
    build_args: Mapping[str, str]
    ca_bundle: Path | None = None  # available to the build's steps, never left in the image
    ignore: tuple[str, ...] = ()  # patterns as in .dockerignore, applied before the context's own


class ContainerEngine(Protocol):
    """Builds, finds, pushes and pulls images. ``DockerLauncher`` starts the containers."""

    def ping(self) -> str:
        """Return the engine's version. Raises ``EngineError`` if none answers."""

    def find_image(self, reference: str) -> ImageRef | None:
        """Return the local image, or ``None``."""

    def image_labels(self, reference: str) -> Mapping[str, str]:
        """Return a local image's labels. Raises ``EngineError`` if there is no such image."""

    def inputs_digest(self, request: BuildRequest) -> str:
        """Return a hash of the inputs of the build: Dockerfile, build arguments, files of the context."""

    def build(self, request: BuildRequest, on_log: Callable[[str], None]) -> ImageRef:
        """Build the image, passing each line to ``on_log``. Raises ``EngineError`` with the last lines."""

    def push(self, reference: str, on_log: Callable[[str], None]) -> None:
        """Push the image to the registry that the reference names."""

    def pull(self, reference: str, on_log: Callable[[str], None]) -> ImageRef | None:
        """Pull the image; return ``None`` if the registry doesn't have it."""
