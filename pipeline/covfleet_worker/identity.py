"""What tests ask pytest-xdist's and pytest-django's fixtures for, answered by the worker's own identity."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

WORKER, RUN = "PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID"


class Identified:
    """The pytest plugin that registers the fixtures after those of all other plugins: the last one wins.

    A conftest.py still overrides them. ``config.workerinput`` is not set, by which plugins take a process for
    one that pytest-xdist drives: pytest-rerunfailures and others would then look for a controller.
    """

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: Any) -> None:
        """Register the fixtures, unless the worker is to be nobody."""
        if WORKER in os.environ:
            config.pluginmanager.register(IdentityFixtures())
            if "pytest_django.fixtures" in sys.modules:
                config.pluginmanager.register(DjangoFixtures())


class IdentityFixtures:
    """pytest-xdist's fixtures."""

    @pytest.fixture(scope="session")
    def worker_id(self) -> str:
        """Return the worker's name: gw and its number."""
        return os.environ[WORKER]

    @pytest.fixture(scope="session")
    def testrun_uid(self) -> str:
        """Return what all workers of a build have in common."""
        return os.environ[RUN]


class DjangoFixtures:
    """pytest-django's fixture that names test databases after the worker."""

    @pytest.fixture(scope="session")
    def django_db_modify_db_settings_xdist_suffix(self) -> None:
        """Append the worker's name to the names of the test databases."""
        from pytest_django.fixtures import _set_suffix_to_test_databases
        from pytest_django.lazy_django import skip_if_no_django

        skip_if_no_django()
        _set_suffix_to_test_databases(suffix=os.environ[WORKER])
