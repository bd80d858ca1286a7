"""What every test folder shares: the fixtures of tests/support that need a server, and a plain environ."""

import os
import signal
import sys

import pytest

pytest_plugins = ["support.engine", "support.seaweed", "support.fake_jenkins", "support.controllers"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So it is for what a script starts in the background, and for all that this starts in turn: the commands
    # that tests interrupt would never notice.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Where this is set, each of the hundreds of processes that tests start would compile pytest's plugins anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_configure(config: pytest.Config) -> None:
    """Keep hypothesis, which none of the tests' projects uses, out of their pytest: it is slow to import."""
    if not config.getoption("tx", None):  # else it starts workers of xdist, which need it
        given = os.environ.get("PYTEST_ADDOPTS", "")
        os.environ["PYTEST_ADDOPTS"] = f"{given} -p no:hypothesispytest".strip()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run the whole suite in as many processes as there are cores; for a part, starting them takes longer."""
    chosen = config.args_source is config.ArgsSource.ARGS or config.getoption("keyword")
    return 0 if chosen else max(2, min(len(os.sched_getaffinity(0)), 4))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes long when processes share the tests, or one works alone at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)
