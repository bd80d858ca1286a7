"""Which interpreter an image itself would run: found out without running anything in it.

A container's user may be barred from the first folder of the image's PATH, say from an environment below
/root. The system would then pass over it in silence, and the tests would run on another Python of the image.
So the name is looked up as the image's author sees it, and the interpreter is used by its path.
"""

from __future__ import annotations

import base64
import io
import json
import posixpath
import tarfile
from collections.abc import Iterator
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from covfleet.adapters.docker.client import connect, engine_errors

if TYPE_CHECKING:
    from docker import APIClient

_SILENCE_S = 60
_EXECUTE = 0o111
_ENTER = 0o001
_LONGEST_CHAIN = 40  # of links, as on Linux
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@cache
def own_interpreter(image: str, python: str) -> tuple[str, str]:
    """Return the path of the interpreter that ``python`` means in an image, and what bars others from it.

    The second is the first folder on the way that only its owner's group may enter; empty, if there is none.
    A path, or a name that the image's PATH doesn't have, is returned as it is.

    Raises:
        EngineError: no engine, or no such image.
    """
    client = connect(_SILENCE_S)
    try:
        with engine_errors(f"look for {python} in the image {image}"):
            container = str(client.create_container(image, entrypoint=["true"])["Id"])
            try:
                return _found(client, container, python)
            finally:
                client.remove_container(container, force=True)
    finally:
        client.close()


def _found(client: APIClient, container: str, python: str) -> tuple[str, str]:
    candidates = [python]
    if "/" not in python:
        environment = client.inspect_container(container)["Config"]["Env"] or ()
        path = dict(entry.split("=", 1) for entry in environment).get("PATH", _USUAL_PATH)
        candidates = [posixpath.join(folder, python) for folder in path.split(":") if folder]
    for candidate in candidates:
        way = list(_way(client, container, candidate))
        if way and way[-1][1] & _EXECUTE:
            barred = (folder for folder, mode in way[:-1] if not mode & _ENTER)
            return candidate, next(barred, "")
    return python, ""


def _way(client: APIClient, container: str, path: str) -> Iterator[tuple[str, int]]:
    """Yield each folder on the way to a file with its mode, then the file; nothing, if it isn't there."""
    found: dict[str, int] = {}
    for _ in range(_LONGEST_CHAIN):
        parts = posixpath.normpath(path).strip("/").split("/")
        folders = ["/" + "/".join(parts[:count]) for count in range(1, len(parts))]
        facts = {folder: _stat(client, container, folder) for folder in folders if folder not in found}
        found.update({folder: fact["mode"] for folder, fact in facts.items() if fact})
        fact = _stat(client, container, path)
        if fact is None:
            return
        if not fact["linkTarget"]:
            yield from found.items()
            yield path, fact["mode"]
            return
        path = posixpath.join(posixpath.dirname(path), _link(client, container, path))


def _link(client: APIClient, container: str, path: str) -> str:
    """Return the target of a link. The one that ``_stat`` has is the end of the whole chain of links."""
    chunks, _ = client.get_archive(container, path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        return archive.getmembers()[0].linkname


def _stat(client: APIClient, container: str, path: str) -> dict[str, Any] | None:
    """Return mode and link target of a path in a container; ``None``, if there is nothing."""
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/archive"
    answer = client.head(url, params={"path": path}, timeout=_SILENCE_S)
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return None
    answer.raise_for_status()
    return dict(json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"])))
