"""The stage ``image``: build the image that the shards run from a commit and a Dockerfile.

The tag of an image is the commit. Its label ``covfleet.inputs`` is a hash of all inputs of the build, so that
an image is rebuilt if, and only if, they have changed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from covfleet.errors import ConfigurationError
from covfleet.files import resource
from covfleet.model import Checkout, ImageRef
from covfleet.ports.engine import BuildRequest, ContainerEngine
from covfleet.ports.narration import Narrate
from covfleet.settings.schema import ImageSettings
from covfleet.store.keys import checked

INPUTS_LABEL = "covfleet.inputs"

_OURS = ("**/.covfleet",)
_NOT_FOR_IMAGES = (
    *(".git", ".hg", ".svn", "**/node_modules"),
    *("**/__pycache__", "**/.venv", "venv", "**/.tox", "**/.nox", "**/*.egg-info"),
    *("**/.mypy_cache", "**/.pytest_cache", "**/.ruff_cache", "**/.coverage", "**/.coverage.*", "**/htmlcov"),
)


def ensure_image(  # noqa: PLR0913 - everything that the stage needs
    engine: ContainerEngine,
    settings: ImageSettings,
    project: Path,
    checkout: Checkout,
    build: str,
    *,
    rebuild: bool,
    on_log: Narrate,
) -> ImageRef:
    """Return the image of the checkout: the local one, the registry's, or a new one.

    With ``settings.push`` the image is in the registry afterwards. With ``rebuild`` it is always built; the
    engine's layer cache still serves unchanged layers.

    Raises:
        ConfigurationError: Dockerfile, context or CA bundle is missing.
        EngineError: there is no engine or no base image, a step failed, or the registry refused.
    """
    request = build_request(settings, project, checkout, build)
    inputs = engine.inputs_digest(request)
    request = replace(request, labels={**request.labels, INPUTS_LABEL: inputs})
    image = None if rebuild else _existing(engine, request.reference, inputs, on_log, pull=settings.push)
    if image is None:
        image = engine.build(request, on_log)
    if settings.push:
        engine.push(request.reference, on_log)  # cheap if it is there: the registry has every layer
    return image


def build_request(settings: ImageSettings, project: Path, checkout: Checkout, build: str) -> BuildRequest:
    """Return the build request with absolute paths. Reads the disk, but changes nothing.

    Raises:
        ConfigurationError: Dockerfile, context or CA bundle is missing.
    """
    default = settings.dockerfile is None
    dockerfile = (
        resource("docker/app.Dockerfile") if settings.dockerfile is None else project / settings.dockerfile
    )
    context = project / settings.context
    ca_bundle = project / settings.ca_bundle if settings.ca_bundle else None
    _require(context.is_dir(), f"the build context {context} doesn't exist", "image.context")
    _require(dockerfile.is_file(), f"the Dockerfile {dockerfile} doesn't exist", "image.dockerfile")
    _require(
        ca_bundle is None or ca_bundle.is_file(),
        f"the CA bundle {ca_bundle} doesn't exist",
        "image.ca_bundle",
    )
    return BuildRequest(
        context=context.resolve(),
        dockerfile=dockerfile.resolve(),
        reference=f"{settings.repository}:{checked(checkout.commit, 'image tag')}",
        labels={
            "covfleet.commit": checkout.commit,
            "covfleet.branch": checkout.branch,
            "covfleet.build": build,
        },
        build_args={"BASE": settings.base, **settings.build_args} if default else settings.build_args,
        ca_bundle=ca_bundle,
        ignore=(*_NOT_FOR_IMAGES, *_OURS) if default else _OURS,
    )


def _existing(
    engine: ContainerEngine, reference: str, inputs: str, on_log: Narrate, *, pull: bool
) -> ImageRef | None:
    """Return the local or the registry's image of that name if it was built from the same inputs."""
    found = engine.find_image(reference)
    if pull and not (found and _made_from(engine, found, inputs)):
        found = engine.pull(reference, on_log)
    return replace(found, reused=True) if found and _made_from(engine, found, inputs) else None


def _made_from(engine: ContainerEngine, image: ImageRef, inputs: str) -> bool:
    return engine.image_labels(image.reference).get(INPUTS_LABEL) == inputs


def _require(present: bool, message: str, setting: str) -> None:  # noqa: FBT001 - an assertion's condition
    if not present:
        raise ConfigurationError(message, hint=f"Correct {setting}; paths are relative to the project.")
