"""The project's sources as of the plan: a manifest of hashes, and an archive beside the plan.

Combining needs to know which files belong to the project; reporting needs to show them as they were measured,
perhaps on another machine and days later. Both need only files that coverage.py can report:

- Python: ``.py``, ``.pyw``, Cython's ``.pyx``, ``.pxd``, ``.pxi``, and scripts without a suffix that start
  with ``#!`` and name Python;
- files that file tracer plugins report: templates (``.html``, ``.htm``, ``.txt``, ``.jinja``, ``.jinja2``,
  ``.j2``, ``.mako``, ``.tmpl``, ``.tpl``), ``.sh``, ``.bash``, ``.sql``; up to 4 MiB each, as larger ones are
  data;
- coverage.py's settings, without which ``[paths]`` and ``exclude_also`` would be lost.

Other files beside the sources, such as data, images and secrets, are neither read nor uploaded.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from covfleet.errors import ConfigurationError, IncompleteDataError
from covfleet.files import sha256_of
from covfleet.model import SourceFile
from covfleet.store import zstd
from covfleet.text import listed

MOST_BYTES = 1024**3  # total of all files
_LARGEST_TEMPLATE = 4 * 1024**2
_PYTHON = frozenset({".py", ".pyw", ".pyx", ".pxd", ".pxi"})
_TEMPLATES = frozenset(
    {".html", ".htm", ".txt", ".jinja", ".jinja2", ".j2", ".mako", ".tmpl", ".tpl", ".sh", ".bash", ".sql"}
)
_SETTINGS = frozenset({".coveragerc", ".coveragerc.toml", "pyproject.toml", "setup.cfg", "tox.ini"})
_TAR_OVERHEAD = 4096  # bytes per file, with room for a long name


def manifest(root: Path, files: Iterable[str]) -> tuple[SourceFile, ...]:
    """Return path and SHA-256 of the files that coverage.py can report, sorted by path.

    Files are skipped if they don't exist (deleted, but still tracked), if a link leads out of ``root``, or if
    their names aren't Unicode, as no data file can name those.

    Args:
        root: the project's folder.
        files: the project's files: relative paths, "/" between parts.

    Raises:
        ConfigurationError: together they are larger than 1 GiB.
        OSError: a file can't be read.
    """
    home = root.resolve()
    found, size = [], 0
    for path in sorted(set(files)):
        real = (home / path).resolve()
        if _is_unicode(path) and real.is_relative_to(home) and real.is_file() and _is_reportable(path, real):
            size += real.stat().st_size
            found.append(SourceFile(path, sha256_of(real)))
        if size > MOST_BYTES:
            raise ConfigurationError(
                f"the project's sources are larger than {MOST_BYTES} bytes, {path} included",
                hint="Check for a virtual environment or generated code that git doesn't ignore.",
            )
    return tuple(found)


def pack(
    root: Path, manifest: Sequence[SourceFile], out: Path, generated: Mapping[str, bytes] | None = None
) -> None:
    """Write the manifest's files to ``out``, a zstd-compressed tar archive: same files, same bytes.

    Those that are ``generated`` are taken from there, all others from below ``root``.

    Raises:
        ConfigurationError: a file has changed since the manifest was created.
    """
    with tempfile.NamedTemporaryFile(dir=out.parent, prefix=".packing-", delete=False) as unfinished:
        try:
            with (
                zstd.writer(unfinished, level=3) as stream,  # type: ignore[arg-type]
                tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
            ):
                for source in sorted(manifest, key=lambda source: source.path):
                    data = (generated or {}).get(source.path)
                    data = _unchanged(root, source) if data is None else data
                    member = tarfile.TarInfo(source.path)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
            Path(unfinished.name).replace(out)
        except BaseException:
            Path(unfinished.name).unlink(missing_ok=True)
            raise


def unpack(archive: Path, dest: Path, manifest: Sequence[SourceFile]) -> None:
    """Unpack the archive into ``dest``, an empty folder, and check each file against the manifest.

    Raises:
        IncompleteDataError: the archive is damaged, too large, or has other files than the manifest. Files
            that were unpacked before stay in ``dest``.
    """
    dest.mkdir(parents=True, exist_ok=True)
    wanted = {source.path: source.sha256 for source in manifest}
    try:
        with archive.open("rb") as file, zstd.reader(file) as stream:
            bounded = _Bounded(stream, MOST_BYTES + _TAR_OVERHEAD * (len(wanted) + 1))
            with tarfile.open(fileobj=bounded, mode="r|") as tar:  # type: ignore[call-overload]
                for member in tar:
                    _extract(tar, member, dest, wanted)
    except (tarfile.TarError, *zstd.DAMAGE, ValueError) as error:
        raise IncompleteDataError(f"the archive of the sources is damaged: {error}") from error
    if wanted:
        raise IncompleteDataError(f"the archive of the sources lacks {listed(sorted(wanted), 1)}")


class _Bounded:
    """A stream with a limit on the bytes read: it stops a decompression bomb, whatever its headers claim."""

    def __init__(self, stream: io.BufferedIOBase, limit: int) -> None:
        self._stream = stream
        self._left = limit

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("it decompresses to more than the sources may have")
        return data


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, dest: Path, wanted: dict[str, str]) -> None:
    expected = wanted.pop(member.name, None)
    if expected is None or not member.isreg() or member.name.startswith("/"):
        raise IncompleteDataError(
            f"the archive of the sources contains {member.name!r}, which the plan doesn't have"
        )
    target = dest / member.name
    content = tar.extractfile(member)
    if content is None or not target.resolve().is_relative_to(dest.resolve()):
        raise IncompleteDataError(
            f"the archive of the sources contains {member.name!r}, which isn't a regular file in it"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file)
    if sha256_of(target) != expected:
        raise IncompleteDataError(f"{member.name} in the archive of the sources differs from the plan's")


def _unchanged(root: Path, source: SourceFile) -> bytes:
    path = root / source.path
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != source.sha256:
        raise ConfigurationError(
            f"{source.path} changed while the build was being planned", hint="Plan it again."
        )
    return data


def _is_unicode(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_reportable(path: str, real: Path) -> bool:
    name = PurePosixPath(path)
    if name.suffix in _PYTHON or name.name in _SETTINGS:
        return True
    if name.suffix in _TEMPLATES:
        return real.stat().st_size <= _LARGEST_TEMPLATE
    return not name.suffix and _is_python_script(real)


def _is_python_script(real: Path) -> bool:
    with real.open("rb") as file:
        first = file.readline(256)
    return first.startswith(b"#!") and b"python" in first
