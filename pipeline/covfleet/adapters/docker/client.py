"""The door to the Docker engine: one way to connect and one way to translate the SDK's errors.

The SDK is imported on first use, so that runs with plain processes neither need it nor wait for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from covfleet.errors import EngineError

if TYPE_CHECKING:
    from docker import APIClient

NO_ENGINE_HINT = (
    "Start it (systemctl start docker), point DOCKER_HOST at a running one, "
    "or do without it: --executor process."
)


class MissingError(EngineError):
    """The engine, or a registry, doesn't have the image or the container."""


class ConflictError(EngineError):
    """The engine's state prevents the request: a name is taken or an image is in use."""


class EngineAwayError(EngineError):
    """No engine answers: it isn't running or no longer."""


def connect(timeout_s: int) -> APIClient:
    """Return a client of the engine at DOCKER_HOST, or else at the SDK's default address.

    Args:
        timeout_s: how long the engine may be silent during a request, in seconds.

    Raises:
        EngineError: no engine answers there.
    """
    from docker import APIClient  # noqa: PLC0415 - see the module's docstring
    from docker.utils import kwargs_from_env  # noqa: PLC0415

    with engine_errors("connect to the Docker engine"):
        return APIClient(version="auto", timeout=timeout_s, **kwargs_from_env())


@contextmanager
def engine_errors(doing: str, *, hint: str = "") -> Iterator[None]:
    """Turn the SDK's errors in the block into an ``EngineError`` that names the failed operation.

    Args:
        doing: the operation, as an infinitive: "push app:1".
        hint: what to do if the engine answers but refuses.
    """
    from docker.errors import DockerException  # noqa: PLC0415 - see the module's docstring
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        yield
    except (DockerException, HTTPError, OSError) as error:  # requests' exceptions are OSErrors
        raise _explained(doing, error, hint) from error


def _explained(doing: str, error: Exception, hint: str) -> EngineError:
    from docker.errors import APIError  # noqa: PLC0415 - see the module's docstring

    if isinstance(error, APIError):
        return _kind(error.status_code)(f"can't {doing}: {error.explanation or error}", hint=hint)
    if "Credentials store error" in str(error):
        return EngineError(
            f"can't {doing}: {error}",
            hint="The Docker configuration file names a credential helper that doesn't work here: "
            "install it, or remove it from the file.",
        )
    where = os.environ.get("DOCKER_HOST") or "the default socket"
    message = f"can't {doing}: no answer from the engine at {where} ({error})"
    return EngineAwayError(message, hint=NO_ENGINE_HINT)


def _kind(status: int | None) -> type[EngineError]:
    if status == HTTPStatus.NOT_FOUND:
        return MissingError
    return ConflictError if status == HTTPStatus.CONFLICT else EngineError
