"""Build, find, push and pull images on a Docker engine with the Docker SDK and its classic builder.

The CA bundle of a build becomes a separate image with a single file, ``/tmp/ca.pem``. The Dockerfile gets the
image's name as the build argument CA_IMAGE and the file's path for pip as PIP_CERT; a stage before the last
one copies the file, see ``docker/app.Dockerfile``. So no layer and no setting of the final image contains it,
the build needs neither BuildKit nor a network for it, and a Dockerfile without these arguments builds as
usual.
"""

from __future__ import annotations

import io
import re
import secrets
import tarfile
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from covfleet.adapters.docker.client import MissingError, connect, engine_errors
from covfleet.adapters.docker.context import DOCKERFILE, inputs_digest, write_archive
from covfleet.adapters.docker.registry import ecr_login
from covfleet.errors import ConfigurationError, EngineError
from covfleet.model import ImageRef
from covfleet.ports.engine import BuildRequest

if TYPE_CHECKING:
    from docker import APIClient

Log = Callable[[str], None]

_SILENCE_S = 300  # a registry may store a large layer in silence for minutes
_LAST_LINES = 20
_BOOKKEEPING = (" ---> ", "Removing intermediate container")
_PIP_CERT = "/covfleet-ca/ca.pem"


class DockerEngine:
    """``ports.ContainerEngine`` on the engine that DOCKER_HOST names.

    Raises:
        EngineError: from every method, if the engine or a registry refuses.
    """

    def __init__(self) -> None:
        self._client: APIClient | None = None

    def ping(self) -> str:
        """Return the engine's version."""
        with engine_errors("ask the engine for its version"):
            return str(self._api().version()["Version"])

    def find_image(self, reference: str) -> ImageRef | None:
        """Return the local image, or ``None``; its digest is the image's id, the same on every machine."""
        image = self._inspect(reference)
        return ImageRef(reference=reference, digest=image["Id"]) if image else None

    def image_labels(self, reference: str) -> Mapping[str, str]:
        """Return a local image's labels."""
        image = self._inspect(reference)
        if not image:
            raise EngineError(f"no image {reference} on this machine", hint="Build or pull it first.")
        return image["Config"].get("Labels") or {}

    def inputs_digest(self, request: BuildRequest) -> str:
        """Return a hash of the build's inputs."""
        return inputs_digest(request)

    def build(self, request: BuildRequest, on_log: Log) -> ImageRef:
        """Build and tag the image, passing each line of the engine's log to ``on_log``.

        The steps use the host's network, which every engine has, with the host's proxies.
        Side effects: the build's stages stay in the engine's cache.
        """
        with self._ca_arguments(request.ca_bundle) as ca, tempfile.TemporaryFile() as archive:
            write_archive(request, archive)
            self._run_build(request, archive, ca, on_log)
        built = self.find_image(request.reference)
        if not built:
            raise EngineError(f"the engine built {request.reference}, but can't find it")
        return built

    def push(self, reference: str, on_log: Log) -> None:
        """Push the image to the registry that the reference names.

        Credentials come from the Docker configuration; for ECR, the token comes from AWS.
        """
        repository, tag = split_reference(reference)
        login = ecr_login(repository)
        with engine_errors(f"push {reference}"):
            events = self._api().push(repository, tag=tag, stream=True, decode=True, auth_config=login)
            failure = follow(events, on_log)
        if failure:
            raise _refused(f"push {reference}", failure, repository)

    def pull(self, reference: str, on_log: Log) -> ImageRef | None:
        """Pull the image; return ``None`` if the registry doesn't have it. Credentials as for ``push``."""
        repository, tag = split_reference(reference)
        login = ecr_login(repository)
        try:
            with engine_errors(f"pull {reference}"):
                events = self._api().pull(repository, tag=tag, stream=True, decode=True, auth_config=login)
                failure = follow(events, on_log)
        except MissingError:
            return None
        except EngineError as error:
            if error.hint:
                raise
            raise _refused(f"pull {reference}", str(error), repository) from error
        if failure:
            raise _refused(f"pull {reference}", failure, repository)
        return self.find_image(reference)

    def close(self) -> None:
        """Close the connections to the engine."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _api(self) -> APIClient:
        if self._client is None:
            self._client = connect(_SILENCE_S)
        return self._client

    def _inspect(self, reference: str) -> dict[str, Any] | None:
        try:
            with engine_errors(f"look up the image {reference}"):
                return cast("dict[str, Any]", self._api().inspect_image(reference))  # type: ignore[no-untyped-call]
        except MissingError:
            return None

    def _run_build(
        self, request: BuildRequest, archive: IO[bytes], ca: Mapping[str, str], on_log: Log
    ) -> None:
        last: deque[str] = deque(maxlen=_LAST_LINES)

        def log(line: str) -> None:
            last.append(line)
            on_log(line)

        with engine_errors(f"build {request.reference}"):
            events = self._api().build(
                fileobj=archive,
                custom_context=True,
                dockerfile=DOCKERFILE,
                tag=request.reference,
                labels=dict(request.labels),
                buildargs={**request.build_args, **ca},
                network_mode="host",
                use_config_proxy=True,
                rm=True,
                forcerm=True,
                decode=True,
            )
            failure = follow(events, log)
        if failure:
            shown = "".join(f"\n  {line}" for line in last)
            raise EngineError(
                f"the build of {request.reference} with {request.dockerfile} failed: {failure}{shown}",
                hint=_build_hint(failure),
            )

    @contextmanager
    def _ca_arguments(self, bundle: Path | None) -> Iterator[dict[str, str]]:
        """Create an image with the CA bundle for the duration of a build; yield its build arguments."""
        if bundle is None:
            yield {}
            return
        try:
            content = _tar("tmp/ca.pem", bundle.read_bytes())
        except OSError as error:
            raise ConfigurationError(
                f"can't read the CA bundle {bundle}: {error.strerror}", hint="Correct image.ca_bundle."
            ) from error
        repository, tag = "covfleet-ca", secrets.token_hex(8)
        with engine_errors("import the CA bundle"):
            self._api().import_image_from_data(content, repository=repository, tag=tag)
        try:
            yield {"CA_IMAGE": f"{repository}:{tag}", "PIP_CERT": _PIP_CERT}
        finally:
            with engine_errors("remove the image of the CA bundle"):
                self._api().remove_image(f"{repository}:{tag}", force=True)


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def split_reference(reference: str) -> tuple[str, str]:
    """Return repository and tag; a port in the registry's name isn't taken for a tag."""
    repository, colon, tag = reference.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (reference, "latest")


def follow(events: Iterable[Mapping[str, Any]], on_log: Log) -> str:
    """Pass each line of the engine's events to ``on_log``; return the engine's error, or an empty string.

    The progress of layers ("Downloading", twice a second) and the ids of intermediate images and containers
    are left out; the states of layers are kept.
    """
    failure = ""
    for event in events:  # to the end, even after an error: this frees the SDK's connection
        if "error" in event:
            failure = str(event["error"]).strip()
        elif "stream" in event:
            for line in re.split(r"[\r\n]+", _COLOURS.sub("", str(event["stream"]))):
                if line.strip() and not line.startswith(_BOOKKEEPING):
                    on_log(line.rstrip())
        elif event.get("status") and not event.get("progress"):
            on_log(": ".join(str(event[key]) for key in ("id", "status") if event.get(key)))
    return failure


def _tar(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


_NO_BASE = re.compile(r"pull access denied|manifest .*(not found|unknown)|/v2/|dial tcp|no such host")
_NO_RIGHT = re.compile(r"unauthori[sz]ed|denied|no basic auth|forbidden", re.IGNORECASE)


def _build_hint(failure: str) -> str:
    if _NO_BASE.search(failure):
        return "The base image isn't here and can't be pulled: pull or import it, or set image.base."
    return "The last lines above say why. Behind a proxy with its own certificates, set image.ca_bundle."


def _refused(doing: str, failure: str, repository: str) -> EngineError:
    registry = repository.partition("/")[0]
    if _NO_RIGHT.search(failure):
        hint = f"Log in with `docker login {registry}`, and check the account's permissions on {repository}."
    else:
        hint = "Check the registry's name in image.repository, and that this machine can reach it."
    return EngineError(f"can't {doing}: {failure}", hint=hint)
