"""Moves many objects at once, and writes one so that exactly one writer wins.

Both rest on the port alone, so they hold for every store.
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

# What no object's etag is, in the form that S3 gives it.
_NO_ETAG = '"00000000000000000000000000000000"'


def upload_all(store: ObjectStore, pairs: Paths, *, workers: int, progress: Progress | None = None) -> None:
    """Upload every file of ``pairs`` to its key, ``workers`` at a time.

    Args:
        store: where to.
        pairs: (file, key).
        workers: how many at once.
        progress: called from this thread with (objects done, objects in all).

    Raises:
        StoreError: some failed; a line for each names operation, source, destination and reason. Once more
            than ``workers`` of them failed for another reason than absence the store is taken to be down,
            and the rest is not tried.
    """

    def describe(path: Path, key: str) -> str:
        return f"upload {path} -> {store.url}/{key}"

    _transfer(store.upload, pairs, describe, workers, progress)


def download_all(store: ObjectStore, pairs: Paths, *, workers: int, progress: Progress | None = None) -> None:
    """Download every key of ``pairs`` to its file, ``workers`` at a time.

    Arguments and errors are those of ``upload_all``; what could be downloaded stays.
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
            lines.append(f"and {untried} more were not tried")
        raise StoreError("\n".join(lines), hint=" ".join(_unique(error.hint for _, error in failed)))


def _watch(futures: list[Future[None]], enough: int, progress: Progress | None) -> None:
    """Return when all is done, or when more than ``enough`` failures say that the store is down."""
    down = 0
    for done, future in enumerate(as_completed(futures), start=1):
        error = _failure(future)
        down += isinstance(error, StoreError) and not isinstance(error, ObjectNotFoundError)
        if down > enough:
            return
        if progress:
            progress(done, len(futures))


def _failure(future: Future[None]) -> PipelineError | None:
    """Return how a transfer failed. Raises what is no ``PipelineError``: a fault of ours."""
    error = future.exception()
    if error is None or isinstance(error, PipelineError):
        return error
    raise error


def _unique(hints: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(hint for hint in hints if hint))


def put_once(store: ObjectStore, key: str, data: bytes) -> bool:
    """Write the object if there is none; say whether what stands there now is ``data``.

    A conditional put whose answer was lost is sent again and then refused because of its own success, so a
    refusal counts as a loss only when something else is read back.

    Raises:
        StoreError: the store failed.
    """
    try:
        store.put(key, data, if_absent=True)
    except PreconditionFailedError:
        return store.get(key).data == data
    return True


def probe_write(store: ObjectStore) -> None:
    """Check that the store may be written to, with one object that is always the same.

    Raises:
        StoreError: it may not, or failed.
    """
    store.put(PROBE, _PROBE_DATA)


def probe_conditions(store: ObjectStore) -> None:
    """Check that the store honours ``If-None-Match`` and ``If-Match``: without them two shards claim a batch.

    Writes one object, whose key is always the same.

    Raises:
        StoreError: it ignores one of them, or failed.
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
