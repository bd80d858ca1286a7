"""The build context: the files that ``.dockerignore`` doesn't exclude, as a list, a digest and an archive.

The digest shows whether anything that goes into an image has changed; it covers the same files as the
archive.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import IO

from covfleet.adapters.docker.ignore import kept_paths, parse
from covfleet.errors import ConfigurationError
from covfleet.files import sha256_of
from covfleet.ports.engine import BuildRequest

DOCKERFILE = ".covfleet.Dockerfile"
"""The Dockerfile's name in the archive; as it may be outside the context, it gets a separate name."""

_EXECUTABLE = stat.S_IXUSR


def inputs_digest(request: BuildRequest) -> str:
    """Return a SHA-256 (hex) of all inputs of the build.

    The inputs are the Dockerfile, the build arguments, and path, executable bit and content of each file in
    the context. Labels, the reference, the CA bundle and the content of the base image are not included.

    Raises:
        ConfigurationError: a file can't be read.
    """
    digest = hashlib.sha256()

    def add(*parts: str | bytes) -> None:
        for part in parts:
            data = part.encode(errors="surrogateescape") if isinstance(part, str) else part
            digest.update(b"%d:" % len(data) + data)

    try:
        add(request.dockerfile.read_bytes())
        for name, value in sorted(request.build_args.items()):
            add("argument", name, value)
        for path in context_paths(request):
            add("file", path, *_content(request.context / path))
    except OSError as error:
        raise _unreadable(error) from error
    return digest.hexdigest()


def context_paths(request: BuildRequest) -> tuple[str, ...]:
    """Return the paths of the files, folders and links to send, relative to the context, sorted.

    The patterns are ``request.ignore``, then the lines of the context's ``.dockerignore``, which may revert
    some of them with ``!``.
    """
    own = request.context / ".dockerignore"
    lines = _text(own).splitlines() if own.is_file() else []
    return kept_paths(request.context, parse([*request.ignore, *lines]))


def write_archive(request: BuildRequest, file: IO[bytes]) -> None:
    """Write the context and the Dockerfile to ``file`` as a tar archive, and rewind it.

    Raises:
        ConfigurationError: a file can't be read.
    """
    from docker.utils.build import create_archive  # noqa: PLC0415 - only builds need the SDK

    # COPY skips the files that the archive's .dockerignore names: here, these two of covfleet's own.
    own = [(".dockerignore", f".dockerignore\n{DOCKERFILE}\n"), (DOCKERFILE, _text(request.dockerfile))]
    try:
        create_archive(str(request.context), list(context_paths(request)), file, extra_files=own)
    except OSError as error:
        raise _unreadable(error) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(error, path) from error


def _content(path: Path) -> tuple[str | bytes, ...]:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return ("link", str(path.readlink()))
    if not stat.S_ISREG(status.st_mode):
        return ("folder",)
    return ("executable" if status.st_mode & _EXECUTABLE else "plain", bytes.fromhex(sha256_of(path)))


def _unreadable(error: Exception, path: Path | None = None) -> ConfigurationError:
    subject = f"{path}: {error}" if path else str(error)
    return ConfigurationError(
        f"the image can't be built: {subject}",
        hint="Make the file readable, or add it to .dockerignore if the image doesn't need it.",
    )
