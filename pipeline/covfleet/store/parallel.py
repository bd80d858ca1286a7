"""The same action on many things at once, in threads: for work that waits for a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def for_each(action: Callable[[T], R], items: Iterable[T], *, workers: int) -> list[R]:
    """Return what ``action`` gives for each item, in their order.

    The first error is raised when the actions under way have ended; those not begun by then never begin.
    """
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(action, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
