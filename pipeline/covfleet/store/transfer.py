"""Transfer many objects at once, and write one so that exactly one writer wins.

Both depend only on the port, so they work with every store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from covfleet.errors import ObjectNotFoundError, PipelineError, PreconditionFailedError, StoreError
from covfleet.ports.narration import Progress
from covfleet.ports.object_store import ObjectStore, Paths
from covfleet.store.keys import PROBE

_PROBE_DATA = b"covfleet doctor\n"

# An etag in S3's form that no object has.
_NO_ETAG = '"00000000000000000000000000000000"'


def upload_all(store: ObjectStore, pairs: Paths, *, workers: int, progress: Progress | None = None) -> None:
    """Upload every file of ``pairs`` to its key, ``workers`` at a time.

    Args:
        store: the destination.
        pairs: (file, key).
        workers: number of parallel transfers.
        progress: called from this thread with (objects done, total objects).

    Raises:
        StoreError: some transfers failed; a line for each names operation, source, destination and reason.
            If more than ``workers`` of them fail for a reason other than absence, the store counts as down
            and the rest is skipped.
    """

    def describe(path: Path, key: str) -> str:
        return f"upload {path} -> {store.url}/{key}"

    _transfer(store.upload, pairs, describe, workers, progress)


def download_all(store: ObjectStore, pairs: Paths, *, workers: int, progress: Progress | None = None) -> None:
    """Download every key of ``pairs`` to its file, ``workers`` at a time.

    Arguments and errors are those of ``upload_all``; files that were downloaded stay.
    """

    def describe(path: Path, key: str) -> str:
        return f"download {store.url}/{key} -> {path}"

    _transfer(lambda path, key: store.download(key, path), pairs, describe, workers, progress)


def _transfer(
    move: Callable[[Path, str], None],
    pairs: Paths,
    describe: Callable[[Path, str], str],
    workers: int,
    progress: Progress | None,
) -> None:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="transfer")
    try:
        futures = [pool.submit(move, path, key) for path, key in pairs]
        _watch(futures, workers, progress)
    finally:
        pool.shutdown(cancel_futures=True)
    tried = [(pair, future) for pair, future in zip(pairs, futures, strict=True) if not future.cancelled()]
    failed = [(pair, error) for pair, future in tried if (error := _failure(future))]
    if failed:
        lines = [f"{describe(*pair)}: {error}" for pair, error in failed]
        if untried := len(futures) - len(tried):
            lines.append(f"and {untried} more were skipped")
        raise StoreError("\n".join(lines), hint=" ".join(_unique(error.hint for _, error in failed)))


def _watch(futures: list[Future[None]], enough: int, progress: Progress | None) -> None:
    """Return when all transfers are done, or after more than ``enough`` failures: the store is down."""
    down = 0
    for done, future in enumerate(as_completed(futures), start=1):
        error = _failure(future)
        down += isinstance(error, StoreError) and not isinstance(error, ObjectNotFoundError)
        if down > enough:
            return
        if progress:
            progress(done, len(futures))


def _failure(future: Future[None]) -> PipelineError | None:
    """Return a transfer's error. Raises anything but a ``PipelineError``: that is a bug."""
    error = future.exception()
    if error is None or isinstance(error, PipelineError):
        return error
    raise error


def _unique(hints: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(hint for hint in hints if hint))


def put_once(store: ObjectStore, key: str, data: bytes) -> bool:
    """Write the object if there is none; return whether its content now is ``data``.

    If the response to a conditional put is lost, the put is repeated and then refused because the first one
    succeeded, so a refusal means that another writer won only if other content is read back.

    Raises:
        StoreError: the store failed.
    """
    try:
        store.put(key, data, if_absent=True)
    except PreconditionFailedError:
        return store.get(key).data == data
    return True


def probe_write(store: ObjectStore) -> None:
    """Check that the store is writable, by writing one object that is always the same.

    Raises:
        StoreError: it isn't, or it failed.
    """
    store.put(PROBE, _PROBE_DATA)


def probe_conditions(store: ObjectStore) -> None:
    """Check that the store honours ``If-None-Match`` and ``If-Match``, which claims depend on.

    Writes one object, always with the same key.

    Raises:
        StoreError: it ignores one of them, or it failed.
    """
    probe_write(store)
    _must_refuse(store, "If-None-Match", lambda: store.put(PROBE, _PROBE_DATA, if_absent=True))
    _must_refuse(store, "If-Match", lambda: store.put(PROBE, _PROBE_DATA, if_match=_NO_ETAG))


def _must_refuse(store: ObjectStore, condition: str, put: Callable[[], str]) -> None:
    try:
        put()
    except PreconditionFailedError:
        return
    raise StoreError(
        f"{store.url} ignores conditional puts ({condition}): it overwrote {PROBE} against the condition",
        hint="Use a server that honours them, such as AWS S3, MinIO, Ceph or SeaweedFS, or a folder.",
    )
