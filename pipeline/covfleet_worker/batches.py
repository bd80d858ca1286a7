"""The pytest plugins: one runs the agent's batches in a single test session, one switches contexts."""

from __future__ import annotations

import gc
import os
import sys
import time
from typing import Any, Iterable, Optional

import pytest

from .channel import Channel, clean, shortened
from .collecting import reason, why_missing
from .commands import serve
from .measurement import WorkerCoverage
from .verdicts import Verdicts, failure

IDS_PER_EVENT = 2000


class Batches:
    """The pytest plugin that executes the agent's commands instead of collecting and running everything."""

    def __init__(self, channel: Channel, measurement: WorkerCoverage, start: dict[str, Any]) -> None:
        self.channel = channel
        self.measurement = measurement
        self.checkpoint_s = start["checkpoint_s"]
        self.import_all = start["import_all"]
        self.collect_garbage = start["collect_garbage"]
        self.verdicts = Verdicts()
        self.known: dict[str, list[Any]] = {}  # test id -> its items; more than one if ids repeat
        self.folders: dict[Any, Any] = {}  # parent and path -> pytest's node for a folder
        self.unvisited_conftests: dict[Any, Any] = {}
        self.collected_files: set[str] = set()
        self.collect_errors: dict[str, tuple[str, str]] = {
            file: (message, output) for file, (message, output) in start.get("left_out", {}).items()
        }
        self.seen_files: dict[str, None] = {}  # that pytest collected from, with any result
        self.skipped_files: dict[str, str] = {}  # files that skip themselves on import, with the reason
        self.collected_everything = False
        self.on_the_way: Optional[set[str]] = None  # while collecting single files: these and their folders
        self.last_save = time.monotonic()
        self.save_cost_s = 0.0
        self.uncertain = ""  # how the running test switched measuring off

    # ---- pytest's hooks

    @pytest.hookimpl(trylast=True)  # once there is a terminal reporter to silence
    def pytest_configure(self, config: Any) -> None:
        """Suppress pytest's own output: the agent writes a report for all shards."""
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter._tw._file = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - lives as long as pytest

    def pytest_sessionstart(self, session: Any) -> None:
        """Take over collection, so that pytest's own hook finds nothing to do."""
        self.session = session
        self.collect = session.perform_collect
        session.perform_collect = lambda *_args, **_kwargs: []

    @pytest.hookimpl(hookwrapper=True, optionalhook=True)  # since pytest 8
    def pytest_collect_directory(self, path: Any, parent: Any) -> Any:
        """Reuse each folder's node in all collections: pytest 9.1 ties conftests' fixtures to the first."""
        result = yield
        node = result.get_result()
        if node is not None:
            result.force_result(self.folders.setdefault((parent, path), node))

    @pytest.hookimpl(tryfirst=True)  # before pytest forgets
    def pytest_collection_finish(self, session: Any) -> None:
        """Keep the conftests of unvisited folders, which pytest 9.1 forgets after a collection."""
        self.unvisited_conftests = dict(getattr(session._fixturemanager, "_pending_conftests", {}))

    @pytest.hookimpl(tryfirst=True)  # other plugins' hooks cost more
    def pytest_ignore_collect(self, collection_path: Any) -> Optional[bool]:
        """Skip the neighbours of single files, as otherwise pytest asks its plugins about each every time.

        Other plugins still decide on the files, their folders and ``__init__.py``, which makes a folder a
        package.
        """
        on_the_way = self.on_the_way
        if on_the_way is None or collection_path.name == "__init__.py" or str(collection_path) in on_the_way:
            return None
        return True

    def pytest_collectreport(self, report: Any) -> None:
        """Record the files that were collected, failed to be collected, or skip themselves."""
        if fault := self.measurement.ensure_on():
            where = clean(report.nodeid) or "a conftest.py"
            self.measurement.notes.append(
                f"{where} was imported, and {fault}: lines that ran then may be missing"
            )
        if report.nodeid and "::" not in report.nodeid:
            self.seen_files[clean(report.nodeid)] = None
        if report.skipped and "::" not in report.nodeid:
            self.skipped_files[clean(report.nodeid)] = clean(str(report.longrepr[2]))
        if report.failed:
            found = reason(report), shortened(report.longreprtext)
            self.collect_errors.setdefault(clean(report.nodeid), found)

    def pytest_internalerror(self, excrepr: Any) -> None:
        """Report why the process will end on standard error; pytest's own output is suppressed."""
        sys.stderr.write(f"{excrepr}\n")

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Gather the reports of the running test."""
        self.verdicts.reports.append(report)

    def pytest_runtestloop(self) -> bool:
        """Execute the agent's commands until there are no more."""
        serve(self.channel, self.measurement, {"collect": self.tell_tests, "run": self.run})
        return True

    # ---- commands

    def tell_tests(self, _command: dict[str, Any]) -> None:
        """Collect everything and send the agent every test id and every collection error.

        A file that skips itself counts as a test, as in pytest itself: its lines until then are measured.
        Files without a test left (all deselected, or only helpers) are listed separately, as a serial run
        would import them, too.
        """
        try:
            self._collect_everything()
        except pytest.UsageError as error:
            self.channel.send("refused", message=clean(" ".join(map(str, error.args))), hint="")
            raise
        ids = [*self.known, *self.skipped_files]
        for start in range(0, len(ids), IDS_PER_EVENT):
            self.channel.send("tests", ids=ids[start : start + IDS_PER_EVENT])
        errors = [failure(path, "error", *text) for path, text in self.collect_errors.items()]
        listed = {file_of_test(each) for each in (*ids, *self.collect_errors)}
        imports = [file for file in self.seen_files if file not in listed and self._is_file(file)]
        self.channel.send("collected", imports=imports, errors=errors, notes=self._notes())

    def run(self, command: dict[str, Any]) -> None:
        """Run one batch in the order of the agent's list; fixtures aren't shared between batches."""
        before_s = cpu_s()
        self.measurement.switch("")
        wanted, imports = command["tests"], command["imports"]
        planned = {*wanted, *command.get("planned_elsewhere", ())}
        if self.import_all:
            self._collect_everything()
        self._collect_files_of(wanted, imports)
        runnable = [test for test in wanted if test in self.known]
        self.channel.send("running", tests=runnable)
        for test in wanted:
            if test in self.skipped_files:
                self.channel.send("test", **failure(test, "skipped", self.skipped_files[test]))
            elif test not in self.known:
                error = self.collect_errors.get(test) or self.collect_errors.get(file_of_test(test))
                message, output = error or why_missing(test, self.known, planned)
                self.channel.send("test", **failure(test, "error", message, output))
        for file in imports:
            if file in self.collect_errors:
                self.channel.send("test", **failure(file, "error", *self.collect_errors[file]))
        items = [(test, item) for test in runnable for item in self.known[test]]
        for index, (test, item) in enumerate(items):
            following = items[index + 1][1] if index + 1 < len(items) else None
            self._run_one(test, item, following)
        files = self.measurement.hand_over()
        self.channel.send(
            "done",
            files=files,
            notes=self._notes(),
            cpu_s=cpu_s() - before_s,
            observed=self.measurement.observed(),
        )

    def _run_one(self, test: str, item: Any, following: Any) -> None:
        self.verdicts.reports.clear()
        ended = ""
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # pytest.exit(), or a broken plugin
            ended = f"{type(error).__name__}: {error}"
            item.session._setupstate.teardown_exact(None)
        self.uncertain = self.uncertain or self.measurement.ensure_on()
        if self.collect_garbage:
            gc.collect()
        self.session.shouldstop = self.session.shouldfail = False
        repeats = self.known[test]
        if item is not repeats[-1] and not ended:
            return
        outcome = (
            failure(test, "error", f"ended the test run: {ended}") if ended else self.verdicts.outcome(test)
        )
        outcome["uncertain"], self.uncertain = self.uncertain, ""
        self.channel.send("test", **outcome)
        self._checkpoint()

    def _checkpoint(self) -> None:
        """Save now and then: at most once per ``checkpoint_s`` seconds, and for at most 2% of the time."""
        began = time.monotonic()
        if began - self.last_save >= max(self.checkpoint_s, 50 * self.save_cost_s):
            self.measurement.save()
            self.channel.send("saved")
            self.last_save = time.monotonic()
            self.save_cost_s = self.last_save - began

    def _notes(self) -> list[str]:
        notes, self.measurement.notes[:] = list(self.measurement.notes), []
        return notes

    # ---- collecting: only the files that a batch needs, each one once

    def _path(self, file: str) -> str:
        return os.path.join(str(self.session.config.rootpath), file)

    def _is_file(self, file: str) -> bool:
        return os.path.isfile(self._path(file))

    def _collect_files_of(self, tests: Iterable[str], imports: Iterable[str]) -> None:
        unknown = (file_of_test(test) for test in tests if test not in self.known)
        files = dict.fromkeys([*unknown, *(file for file in imports if file not in self.seen_files)])
        present = [file for file in files if file not in self.collected_files and self._is_file(file)]
        if present:
            paths = [self._path(file) for file in present]
            self.on_the_way = with_folders(paths)
            self._collect(paths)
            self.on_the_way = None
            self.collected_files.update(present)
        missing = [test for test in tests if test not in self.known and test not in self.skipped_files]
        if any(file_of_test(test) not in self.collect_errors for test in missing):
            self._collect_everything()  # some plugins create items that can't be found by their file's path

    def _collect_everything(self) -> None:
        if not self.collected_everything:
            self.collected_everything = True
            self._collect(None)

    def _collect(self, paths: Optional[list[str]]) -> None:
        already = {id(item) for items in self.known.values() for item in items}
        fresh: dict[str, list[Any]] = {}
        for item in self.collect(paths):
            if id(item) not in already:
                fresh.setdefault(clean(item.nodeid), []).append(item)
        if self.unvisited_conftests:
            self.session._fixturemanager._pending_conftests.update(self.unvisited_conftests)
        for test, items in fresh.items():
            self.known.setdefault(test, items)


def file_of_test(test: str) -> str:
    """Return the file of a test id: the part before the first ``::``."""
    return test.partition("::")[0]


def cpu_s() -> float:
    """Return the CPU seconds of this process and of its children that have ended.

    ``os.times`` alone counts hundredths of a second; a small batch may take less.
    """
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def with_folders(paths: Iterable[str]) -> set[str]:
    """Return absolute paths with all their parent folders."""
    found = set(paths)
    for path in paths:
        while (path := os.path.dirname(path)) not in found:
            found.add(path)
    return found


class ContextHooks:
    """The pytest plugin that names and switches contexts as pytest-cov does."""

    def __init__(self, measurement: WorkerCoverage) -> None:
        self.measurement = measurement

    def _switch(self, item: Any, phase: str) -> None:
        self.measurement.switch(clean(f"{item.nodeid}|{phase}"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: Any) -> None:
        """Attribute the following code to the test's setup."""
        self._switch(item, "setup")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: Any) -> None:
        """Attribute the following code to the test."""
        self._switch(item, "run")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: Any) -> None:
        """Attribute the following code to the test's teardown."""
        self._switch(item, "teardown")
