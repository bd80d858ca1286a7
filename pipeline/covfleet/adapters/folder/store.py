"""The object store in a folder, on one machine or on a shared file system: an alternative to S3.

Objects are plain files named by their keys. ``.covfleet-store/`` in the root contains unfinished writes and
the lock of replacements, so that listings and plain tools see only whole objects.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from covfleet.adapters.folder.atomic import new_name, replacing
from covfleet.errors import ObjectNotFoundError, PreconditionFailedError, StoreError
from covfleet.files import sha256_of
from covfleet.ports.object_store import ObjectInfo, StoredObject, checked_key, checked_prefix

_INTERNAL = ".covfleet-store"

_HINTS = {
    errno.ENOSPC: "The disk is full: free some space, or move the store with --store.",
    errno.EDQUOT: "The disk quota is exhausted: free some space, or move the store with --store.",
    errno.EACCES: "Check the owner and the permissions of the store's folder.",
    errno.EROFS: "The file system is read-only: move the store with --store.",
    errno.EPERM: "The file system must allow it, and hard links: move the store with --store.",
    errno.EOPNOTSUPP: "The file system must allow it, and hard links: move the store with --store.",
    errno.ENOTDIR: "There is a file where the store needs a folder: remove it.",
    errno.EISDIR: "There is a folder where the store needs a file: remove it.",
    errno.ELOOP: "Objects must not be symbolic links: remove it.",
}


class LocalStore:
    """An ``ObjectStore`` in a folder, which the first write creates.

    An object's etag is the SHA-256 of its content. Symbolic links don't count as objects: listings skip them,
    and a key whose path contains one raises ``StoreError``. Content types and cache headers, which a folder
    can't keep, are ignored.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self.url = str(self._root)

    def get(self, key: str) -> StoredObject:
        """Return the object. Raises ``ObjectNotFoundError``."""
        with self._explained("read", key), self._open(key) as file:
            data = file.read()
        return StoredObject(data, hashlib.sha256(data).hexdigest())

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        content_type: str | None = None,  # noqa: ARG002  a folder can't keep it
        cache_control: str | None = None,  # noqa: ARG002
    ) -> str:
        """Write the object and return its etag. Raises ``PreconditionFailedError``."""

        def write(part: Path) -> None:
            part.write_bytes(data)

        if if_absent:
            self._write(key, write, self._create)
        elif if_match is not None:
            self._write(key, write, lambda part, target: self._replace_if(part, target, if_match))
        else:
            self._write(key, write, self._replace)
        return hashlib.sha256(data).hexdigest()

    def download(self, key: str, path: Path) -> None:
        """Write the object to ``path``, atomically. Raises ``ObjectNotFoundError``."""
        with (
            self._explained("read", key),
            self._open(key) as source,
            replacing(path) as part,
            part.open("xb") as copy,
        ):
            shutil.copyfileobj(source, copy, 1 << 20)

    def upload(
        self,
        path: Path,
        key: str,
        *,
        content_type: str | None = None,  # noqa: ARG002  a folder can't keep it
        cache_control: str | None = None,  # noqa: ARG002
    ) -> None:
        """Write the file's content as the object."""
        self._write(key, lambda part: shutil.copyfile(path, part), self._replace)

    def copy(
        self,
        source: str,
        key: str,
        *,
        sha256: str,
        content_type: str | None = None,  # noqa: ARG002  a folder can't keep it
        cache_control: str | None = None,  # noqa: ARG002
    ) -> None:
        """Copy the object ``source`` to ``key``; the copy is separate, so that no damage affects both.

        Raises ``ObjectNotFoundError`` and ``PreconditionFailedError``.
        """

        def write(part: Path) -> None:
            with self._open(source) as file, part.open("xb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
            if sha256_of(part) != sha256:
                raise PreconditionFailedError(f"{source} in {self.url} has different content than expected")

        checked_key(source)
        self._write(key, write, self._replace)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with ``prefix``, in the order of keys.

        It reads only folders that match the prefix, and no contents: the etags differ from those of ``get``,
        but also change with every write.
        """
        folder, slash, start = checked_prefix(prefix).rpartition("/")
        with self._explained("list", prefix):
            yield from _walk(self._folder(folder), folder + slash, start)

    def _target(self, key: str) -> Path:
        folder, _, name = checked_key(key).rpartition("/")
        if name == _INTERNAL:
            raise OSError(errno.EACCES, "the store reserves this name", name)
        return self._folder(folder) / name

    def _folder(self, folder: str) -> Path:
        """Return a folder's path; ``""`` is the root. Raises ``OSError`` for a link or a reserved name."""
        path = self._root
        for part in folder.split("/") if folder else ():
            path /= part
            if part == _INTERNAL:
                raise OSError(errno.EACCES, "the store reserves this folder", str(path))
            if path.is_symlink():
                raise OSError(errno.ELOOP, "there is a symbolic link in the path", str(path))
        return path

    def _open(self, key: str) -> BinaryIO:
        target = self._target(key)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not block us
        try:
            file = os.fdopen(os.open(target, flags), "rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ObjectNotFoundError(f"{self.url} has no object {key}") from None
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise OSError(errno.EINVAL, "it isn't a plain file", str(target))
        return file

    def _write(
        self, key: str, write: Callable[[Path], object], publish: Callable[[Path, Path], None]
    ) -> None:
        with self._explained("write", key):
            target = self._target(key)
            part = self._internal() / new_name()
            try:
                write(part)
                target.parent.mkdir(parents=True, exist_ok=True)
                publish(part, target)
            finally:
                part.unlink(missing_ok=True)

    def _internal(self) -> Path:
        folder = self._root / _INTERNAL
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _create(self, part: Path, target: Path) -> None:
        try:
            target.hardlink_to(part)  # fails atomically if the name is taken, even on NFS
        except FileExistsError:
            raise PreconditionFailedError(f"{target} already exists") from None

    def _replace(self, part: Path, target: Path) -> None:
        with self._lock():
            part.replace(target)

    def _replace_if(self, part: Path, target: Path, etag: str) -> None:
        with self._lock():
            try:
                present = sha256_of(target)
            except FileNotFoundError:
                present = ""
            if present != etag:
                raise PreconditionFailedError(f"{target} has changed since it was read")
            part.replace(target)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Exclude all other replacements, of this process and of others, during this one."""
        with (self._internal() / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _explained(self, operation: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
            raise StoreError(
                f"can't {operation} {key or 'objects'} in {self.url}: {reason}",
                hint=_HINTS.get(error.errno or 0, ""),
            ) from error


def _walk(directory: Path, folder: str, start: str) -> Iterator[ObjectInfo]:
    for name, entry in _entries(directory, start):
        key = folder + name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(directory / entry.name, key, "")
        elif entry.is_file(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
                yield _info(key, entry.stat(follow_symlinks=False))


def _entries(directory: Path, start: str) -> list[tuple[str, os.DirEntry[str]]]:
    """Return a folder's entries in the order of keys: folders sort as if their names ended with ``/``."""
    try:
        with os.scandir(directory) as entries:
            named = [(_printable(entry.name), entry) for entry in entries if entry.name != _INTERNAL]
    except (FileNotFoundError, NotADirectoryError):
        return []
    kept = [(name + "/" * entry.is_dir(follow_symlinks=False), entry) for name, entry in named]
    return sorted((pair for pair in kept if pair[0].startswith(start)), key=lambda pair: pair[0])


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(
        key=key,
        size_bytes=found.st_size,
        etag=f"{found.st_mtime_ns:x}-{found.st_ino:x}-{found.st_size:x}",
        modified=datetime.datetime.fromtimestamp(found.st_mtime, datetime.UTC),
    )


def _printable(name: str) -> str:
    """Return a file's name as text that can be encoded; this changes only names that no key can have."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
