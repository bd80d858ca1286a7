"""pytest's own options where many workers share a run: some are ignored, with a note, and some refused.

What a project always says (``addopts``, ``PYTEST_ADDOPTS``) must not break a distributed run; what somebody
asked for in this one (``pytest_args``, or after ``--``) must not be dropped. An option with which no test
would run is never ignored.
"""

from __future__ import annotations

import os
from typing import Any, Iterator, NamedTuple, Sequence

import pytest

from .channel import Channel


class Rule(NamedTuple):
    """What becomes of an option.

    ``only_shows``: nothing would run, so it is refused wherever it stands.
    """

    dest: str  # pytest's name of the value
    flag: str
    neutral: Any  # the value that does nothing
    instead: str
    only_shows: bool = False


SHARDS = "--shards and `procs` in [tool.covfleet] say how many workers there are"
FAILED = "name the tests that failed, as reports/junit.xml lists them, after --"
DEBUG = "debug a test with `python -m pytest` itself"
ORDER = "the plan orders tests by their duration"
WITH_PYTEST = "ask `python -m pytest` itself"
RUN_ALL = "every planned test runs, so that the figure is one of the whole suite"

RULES = (
    Rule("maxfail", "-x/--maxfail", 0, RUN_ALL),
    Rule("stepwise", "--stepwise", False, f"{RUN_ALL}; {FAILED}"),
    Rule("stepwise_skip", "--stepwise-skip", False, f"{RUN_ALL}; {FAILED}"),
    Rule("lf", "--lf/--last-failed", False, f"{RUN_ALL}; {FAILED}"),
    Rule("failedfirst", "--ff/--failed-first", False, ORDER),
    Rule("newfirst", "--nf/--new-first", False, ORDER),
    Rule("numprocesses", "-n/--numprocesses", 0, SHARDS),
    Rule("maxprocesses", "--maxprocesses", None, SHARDS),
    Rule("dist", "--dist", "no", f"{SHARDS}; `unit` says what stays together"),
    Rule("distload", "-d", False, SHARDS),
    Rule("tx", "--tx", [], SHARDS),
    Rule("px", "--px", [], SHARDS),
    Rule("looponfail", "-f/--looponfail", False, WITH_PYTEST),
    Rule("usepdb", "--pdb", False, DEBUG),
    Rule("trace", "--trace", False, DEBUG),
    Rule("xmlpath", "--junitxml", None, "covfleet writes reports/junit.xml, one for all shards"),
    Rule("durations", "--durations", None, "reports/junit.xml has the duration of each test"),
    Rule("pastebin", "--pastebin", None, "covfleet sends nothing away"),
    Rule("collectonly", "--co/--collect-only", False, "use `covfleet plan --dry-run`", only_shows=True),
    Rule("setuponly", "--setup-only", False, WITH_PYTEST, only_shows=True),
    Rule("setupplan", "--setup-plan", False, WITH_PYTEST, only_shows=True),
    Rule("showfixtures", "--fixtures", False, WITH_PYTEST, only_shows=True),
    Rule("show_fixtures_per_test", "--fixtures-per-test", False, WITH_PYTEST, only_shows=True),
    Rule("markers", "--markers", False, WITH_PYTEST, only_shows=True),
    Rule("cacheshow", "--cache-show", None, WITH_PYTEST, only_shows=True),
    Rule("help", "-h/--help", False, WITH_PYTEST, only_shows=True),
    Rule("version", "-V/--version", 0, WITH_PYTEST, only_shows=True),
)


class Options:
    """The pytest plugin that applies the rules to what is loaded: an option that isn't known isn't missed.

    Args:
        channel: where a refusal goes.
        given: the arguments of this run, without the project's own.

    Attributes:
        notes: where it is noted what is ignored.
    """

    def __init__(self, channel: Channel, given: Sequence[str]) -> None:
        self.notes: list[str] = []
        self._channel = channel
        self._given = given

    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self, early_config: Any) -> Any:
        """Keep pytest-cov, which starts here, from measuring as well."""
        options = early_config.known_args_namespace
        if hasattr(options, "no_cov"):
            options.no_cov = True
        yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_cmdline_main(self, config: Any) -> Any:
        """Apply the rules before any plugin acts on its options."""
        given = config._parser.parse_known_args(list(self._given))
        if refusals := list(_refusals(config.option, given)):
            self._channel.send("refused", message="; ".join(refusals), hint="")
            raise SystemExit(int(pytest.ExitCode.USAGE_ERROR))
        for rule in RULES:
            if is_set(config.option, rule):
                setattr(config.option, rule.dest, rule.neutral)
                self.notes.append(f"{rule.flag} of addopts is ignored: {rule.instead}")
        if basetemp := getattr(config.option, "basetemp", None):  # which pytest empties at its start
            os.makedirs(basetemp, exist_ok=True)
            worker = f"{os.environ.get('COVFLEET_SHARD', '0')}-{os.environ.get('COVFLEET_SLOT', '0')}"
            config.option.basetemp = os.path.join(basetemp, f"shard-{worker}")
        yield


def _refusals(options: Any, given: Any) -> Iterator[str]:
    for rule in RULES:
        if is_set(given, rule):
            yield f"pytest's {rule.flag} can't be used here: {rule.instead}"
        elif rule.only_shows and is_set(options, rule):
            yield f"pytest's {rule.flag}, in addopts or PYTEST_ADDOPTS, runs no test: {rule.instead}"


def is_set(options: Any, rule: Rule) -> bool:
    """Say whether an option asks for something."""
    return bool(getattr(options, rule.dest, None)) and getattr(options, rule.dest) != rule.neutral
