"""Apply an action to many items at once, in threads: for work that waits for a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def for_each(action: Callable[[T], R], items: Iterable[T], *, workers: int) -> list[R]:
    """Return the result of ``action`` for each item, in their order.

    The first error is raised after the running actions have ended; the remaining ones never start.
    """
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(action, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
