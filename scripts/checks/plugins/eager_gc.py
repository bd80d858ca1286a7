"""A pytest plugin: collects garbage after every test.

What runs when an object is collected (finalizers, weak references' callbacks, the closing of generators that
nobody exhausted) runs at a moment that depends on everything before. This makes it run soon, and measured.
"""

from __future__ import annotations

import gc

import pytest


def pytest_collection_finish() -> None:
    """Leave alone what is there before the first test: going through it each time would take long."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Collect what the test has left."""
    gc.collect()
