"""The worker: runs inside the application's own interpreter, measures, and runs what it is told to.

This file, and ``monitor.py`` beside it where Python is 3.12 or newer, are all that covfleet brings into the
application's environment. They need nothing but what the application has (Python 3.9 or newer, coverage.py
7.10.6 or newer, pytest 7 or newer) and import nothing of covfleet. The agent starts ``python worker.py
OUTPUT_FOLDER`` in the project's folder and then speaks lines of JSON with it: commands on standard input,
events on standard output.

    agent                                   worker
    {"do": "start", coverage, pytest, ...}  {"event": "ready", environment, measurement}
    {"do": "collect"}                       {"event": "tests", "ids": [...]}   several times
                                            {"event": "collected", "imports": [...], "errors": [...]}
    {"do": "run", "tests", "imports"}       {"event": "running", "tests": [...]}
                                            {"event": "test", "id", "outcome", ...}   one a test
                                            {"event": "saved"}                        now and then
                                            {"event": "done", "files", "notes", "cpu_s"}
    {"do": "command", "id", "argv"}         {"event": "running"}, {"event": "test"}, {"event": "done"}
    {"do": "quit"}, or end of input         ends the test session and exits

The process lives from batch to batch, so that imports and collection are paid once.  Its coverage data is a
file in OUTPUT_FOLDER while a batch runs, and is handed over in OUTPUT_FOLDER/done when the batch is over.
``saved`` says that the data of all tests reported so far is on disk: it survives whatever kills the process.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import time
import types
import warnings
from typing import Any, Callable, Iterable, Optional

import coverage

MONITOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "monitor.py")
MAX_TEXT = 64 * 1024  # characters of a traceback or captured output; the rest is cut from its middle
IDS_PER_EVENT = 2000
FINISHED_CHILD = re.compile(r"^\.coverage\..*\.H\w{10}h$")  # the hash comes into the name at the very end
CORES = {"CTracer": "ctrace", "PyTracer": "pytrace", "SysMonitor": "sysmon", "Monitor": "monitor"}
SERIOUS_FIRST = ("failed", "error", "xpassed", "xfailed", "skipped", "passed")


def clean(text: str) -> str:
    """Return ``text`` without lone surrogates, which neither JSON nor XML can carry."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def shortened(text: str) -> str:
    """Return ``text`` with its middle cut out if it is longer than ``MAX_TEXT`` characters."""
    if len(text) <= MAX_TEXT:
        return clean(text)
    half = MAX_TEXT // 2
    return clean(f"{text[:half]}\n[... {len(text) - MAX_TEXT} characters cut ...]\n{text[-half:]}")


class Channel:
    """The two pipes to the agent, moved away from the standard streams, which belong to the tests."""

    def __init__(self) -> None:
        self._commands = os.fdopen(os.dup(0), "rb")
        self._events = os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)

    def receive(self) -> Optional[dict[str, Any]]:
        """Return the next command, ``None`` at the end of the input."""
        line = self._commands.readline()
        return json.loads(line) if line else None

    def send(self, event: str, **fields: Any) -> None:
        """Send one event."""
        data = json.dumps({"event": event, **fields}, separators=(",", ":")).encode() + b"\n"
        while data:
            data = data[os.write(self._events, data) :]


class Measurement:
    """coverage.py with the application's own settings and what distribution adds to them."""

    def __init__(self, folder: str, branch: Optional[bool], contexts: bool, core: str) -> None:
        self.contexts = contexts
        self.notes: list[str] = []
        self._folder = folder
        self._root = os.path.join(os.getcwd(), "")
        self._done = os.path.join(folder, "done")
        self._handed_over = 0
        os.makedirs(self._done, exist_ok=True)
        self.cov = self._coverage(folder, branch)
        self._configure(core)

    @staticmethod
    def _coverage(folder: str, branch: Optional[bool]) -> coverage.Coverage:
        def make(config_file: Any) -> coverage.Coverage:
            return coverage.Coverage(
                data_file=os.path.join(folder, ".coverage"),
                data_suffix=True,
                config_file=config_file,
                branch=branch,
            )

        cov = make(True)
        if cov.config.config_file is None:  # coverage.py passes settings on to subprocesses only from a file
            config_file = os.path.join(folder, "coveragerc")
            with open(config_file, "w", encoding="utf-8") as file:
                file.write("[run]\n")
            cov = make(config_file)
        return cov

    def _configure(self, core: str) -> None:
        option, set_option = self.cov.get_option, self.cov.set_option
        set_option("run:parallel", True)
        set_option("run:relative_files", True)
        set_option("run:sigterm", True)
        set_option("run:patch", sorted({*(option("run:patch") or ()), "subprocess"}))
        set_option("run:omit", [*(option("run:omit") or ()), os.path.abspath(__file__), MONITOR])
        if "multiprocessing" in (option("run:concurrency") or ()):
            # Its children read the settings' file again, which doesn't know where our data belongs.
            os.environ["COVERAGE_FILE"] = self.cov.config.data_file
        self.wanted_core = self._chosen_core(core)
        # Subprocesses don't switch contexts, and nothing of ours is in them.
        set_option("run:core", "ctrace" if self.wanted_core == "monitor" else self.wanted_core)

    def _chosen_core(self, core: str) -> str:
        """Return what covfleet's settings say, or the project's own, or the fastest that is exact.

        With contexts coverage.py's core on sys.monitoring would lose data in silence; ours doesn't.
        """
        wanted = core if core != "auto" else self.cov.get_option("run:core") or "auto"
        if self.contexts and wanted == "sysmon":
            wanted = "auto" if core == "auto" else "monitor"
        if wanted == "monitor" and (refusal := self._use_monitor()):
            raise SystemExit(f"covfleet's core on sys.monitoring can't measure here: {refusal}")
        if wanted == "auto" and self.contexts:
            return "ctrace" if self._use_monitor() else "monitor"
        return self._fastest_core() if wanted == "auto" else str(wanted)

    def _use_monitor(self) -> str:
        """Give covfleet's own core to coverage.py, or return why that can't be."""
        option = self.cov.get_option
        refusals = (
            (not self.contexts, "it is for test contexts"),
            (option("run:branch"), "it doesn't measure branches"),
            (option("run:plugins"), "it doesn't serve coverage.py's plugins"),
            (option("run:dynamic_context"), "dynamic_context is set"),
            (option("run:timid"), "timid is set"),
            (sys.version_info < (3, 12), "it needs Python 3.12 or newer"),
        )
        for refused, reason in refusals:
            if refused:
                return reason
        spec = importlib.util.spec_from_file_location("covfleet_monitor", MONITOR)
        assert spec is not None and spec.loader is not None
        monitor = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(monitor)
        try:
            monitor.take_over(self.cov)
        except monitor.UnusableError as error:
            self.notes.append(f"measured by the C tracer, which is slower: {error}")
            return str(error)
        return ""

    def _fastest_core(self) -> str:
        """Return coverage.py's fastest core that gives correct results for these settings, without contexts.

        sys.monitoring can't measure branches before 3.14, nor serve file tracers or greenlets: coverage.py
        would warn and lose data, or fall back.
        """
        option = self.cov.get_option
        needs_tracer = (
            option("run:dynamic_context")
            or option("run:plugins")
            or option("run:timid")
            or set(option("run:concurrency") or ()) - {"thread", "multiprocessing"}
        )
        measurable = sys.version_info >= ((3, 14) if option("run:branch") else (3, 12))
        return "sysmon" if measurable and not needs_tracer else "ctrace"

    def start(self) -> None:
        """Start measuring; refuse to go on with another core than the chosen one."""
        with self._noting_warnings():
            self.cov.start()
        self._configure_children()
        self.core = CORES.get(dict(self.cov.sys_info()).get("core", ""), "unknown")
        self.branch = bool(self.cov.get_option("run:branch"))
        if self.core != self.wanted_core and not self.cov.get_option("run:timid"):
            said = "; ".join(self.notes)
            raise SystemExit(f"coverage.py measures with {self.core}, not with {self.wanted_core}: {said}")

    def _configure_children(self) -> None:
        """Have subprocesses record absolute paths.

        coverage.py makes paths relative to the folder in which a process starts, and a subprocess may start
        anywhere: ``x.py`` of another folder would pass for that of the project.
        """
        self.cov.set_option("run:relative_files", False)
        self.child_config = os.environ["COVERAGE_PROCESS_CONFIG"] = self.cov.config.serialize()
        self.cov.set_option("run:relative_files", True)

    def described(self) -> dict[str, Any]:
        """Return how it measures, as the fields of the agent's ``Measurement``."""
        return {"branch": self.branch, "contexts": self.contexts, "core": self.core}

    def _noting_warnings(self) -> Any:
        """Return a context manager that turns coverage.py's warnings into notes."""
        return NotedWarnings(self.notes)

    def switch(self, context: str) -> None:
        """Attribute what is measured from now on to ``context``, if contexts are wanted."""
        if self.contexts:
            self.cov.switch_context(context)

    def save(self) -> Any:
        """Write what was measured so far to the data file and return coverage.py's data object."""
        with self._noting_warnings():
            data = self.cov.get_data()
            data.write()
        self._check_on_disk(data)
        if self.core == "sysmon":
            # A line event switches itself off once it has fired.  Without this, what one batch has seen
            # would be missing in the next one's file, and coverage.py would think that nothing happened.
            sys.monitoring.restart_events()  # type: ignore[attr-defined]
        return data

    @staticmethod
    def _check_on_disk(data: Any) -> None:
        """Refuse to go on if a test deleted the data file: coverage.py would silently begin another."""
        path = data.data_filename()
        written = coverage.CoverageData(path)
        written.read()
        written.close()
        if written.measured_files() != data.measured_files():
            with open(path, "wb"):  # what is empty isn't sound: the agent then takes no test for saved
                raise RuntimeError(f"coverage's data file {path} was deleted or replaced while tests ran")

    def hand_over(self) -> list[str]:
        """Close the batch's data file, move it to ``done`` and begin a new one; return the file's name."""
        self.switch("")
        data = self.save()
        path = data.data_filename()
        data.close()
        names = []
        if os.path.exists(path):
            self._handed_over += 1
            names.append(f"{os.path.basename(path)}.b{self._handed_over}")
            os.replace(path, os.path.join(self._done, names[0]))
        data.erase()
        # erase() forgets to forget this, and the next file would not say whether it holds lines or arcs.
        data._has_lines = data._has_arcs = False
        return names + self.adopt_children()

    def adopt_children(self) -> list[str]:
        """Hand over the finished data files of subprocesses, with the project's paths made relative."""
        return [name for name in sorted(os.listdir(self._folder)) if self._adopt(name)]

    def _adopt(self, name: str) -> bool:
        path, root = os.path.join(self._folder, name), self._root
        if not FINISHED_CHILD.search(name):
            return False
        adopted = coverage.CoverageData(os.path.join(self._done, name))
        try:
            child = coverage.CoverageData(path)
            child.read()
            adopted.update(child, map_path=lambda file: file[len(root) :] if file.startswith(root) else file)
            child.close()
        except coverage.CoverageException as error:  # the agent judges it as it is
            self.notes.append(f"the data file of a subprocess can't be read: {error}")
            adopted.erase()
            return False
        adopted.close()
        os.unlink(path)
        return True


class NotedWarnings(warnings.catch_warnings):
    """Turns warnings into notes, so that the application's ``-W error`` can't make them fatal."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__(record=True)
        self._notes = notes

    def __enter__(self) -> Any:
        self._caught = super().__enter__()
        warnings.simplefilter("always")
        return self._caught

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)
        for warning in self._caught or ():
            note = clean(str(warning.message))
            if note not in self._notes:
                self._notes.append(note)


class Verdicts:
    """Turns the reports that pytest makes of one test (setup, call, teardown) into one outcome."""

    def __init__(self) -> None:
        self.reports: list[Any] = []

    @staticmethod
    def _of(report: Any) -> str:
        if report.failed:
            return "failed" if report.when == "call" else "error"
        if hasattr(report, "wasxfail"):
            return "xfailed" if report.skipped else "xpassed"
        return "skipped" if report.skipped else "passed"

    def outcome(self, test: str) -> dict[str, Any]:
        """Return the test's outcome, as the fields of a ``test`` event."""
        known = [(self._of(report), report) for report in self.reports if report.outcome != "rerun"]
        for verdict in SERIOUS_FIRST:
            for found, report in known:
                if found == verdict:
                    message, output = self._text(verdict, report)
                    duration = sum(getattr(each, "duration", 0.0) for each in self.reports)
                    return {
                        "id": test,
                        "outcome": verdict,
                        "duration_s": duration,
                        "message": message,
                        "output": output,
                    }
        return failure(test, "error", "pytest ran this test without reporting an outcome")

    @staticmethod
    def _text(verdict: str, report: Any) -> tuple[str, str]:
        if verdict == "passed":
            return "", ""
        if verdict in ("xfailed", "xpassed"):
            return clean(str(report.wasxfail)), ""
        if verdict == "skipped":
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            return clean(str(reason)), ""
        crash = getattr(report.longrepr, "reprcrash", None)
        message = crash.message if crash else str(report.longrepr)
        sections = [f"{title}\n{content}" for title, content in report.sections]
        first_line = message.splitlines()[0] if message else "failed"
        return clean(first_line)[:500], shortened("\n".join([report.longreprtext, *sections]))


def failure(test: str, outcome: str, message: str, output: str = "") -> dict[str, Any]:
    """Return the fields of a ``test`` event for a test that gave no report."""
    return {"id": test, "outcome": outcome, "duration_s": 0.0, "message": message, "output": output}


class Batches:
    """The pytest plugin: instead of collecting and running everything, does what the agent asks for."""

    def __init__(self, channel: Channel, measurement: Measurement, start: dict[str, Any]) -> None:
        self.channel = channel
        self.measurement = measurement
        self.checkpoint_s = start["checkpoint_s"]
        self.import_all = start["import_all"]
        self.collect_garbage = start["collect_garbage"]
        self.verdicts = Verdicts()
        self.known: dict[str, list[Any]] = {}  # test id -> its items; more than one if ids repeat
        self.folders: dict[Any, Any] = {}  # parent and path -> the node that pytest made of a folder
        self.unvisited_conftests: dict[Any, Any] = {}
        self.collected_files: set[str] = set()
        self.collect_errors: dict[str, tuple[str, str]] = {}
        self.seen_files: dict[str, None] = {}  # that pytest collected from, whatever came of it
        self.skipped_files: dict[str, str] = {}  # files that skip themselves when they are imported, and why
        self.collected_everything = False
        self.on_the_way: Optional[set[str]] = None  # while single files are collected: they and their folders
        self.last_save = time.monotonic()
        self.save_cost_s = 0.0

    # ---- pytest's hooks

    def pytest_configure(self, config: Any) -> None:
        """Keep pytest's own output and report files out of the way: the agent writes one for all shards."""
        if getattr(config.option, "xmlpath", None):
            config.option.xmlpath = None
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter._tw._file = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - lives as long as pytest

    def pytest_sessionstart(self, session: Any) -> None:
        """Take collection over: pytest's own hook then finds nothing to do."""
        self.session = session
        self.collect = session.perform_collect
        session.perform_collect = lambda *_args, **_kwargs: []

    def pytest_collect_directory(self, path: Any, parent: Any) -> Any:
        """Have one node a folder in all collections: pytest 9.1 ties conftests' fixtures to the first one."""
        made = yield
        node = made.get_result()
        if node is not None:
            made.force_result(self.folders.setdefault((parent, path), node))

    def pytest_collection_finish(self, session: Any) -> None:
        """Remember what pytest 9.1 forgets after a collection: conftests of folders that weren't visited."""
        self.unvisited_conftests = dict(getattr(session._fixturemanager, "_pending_conftests", {}))

    def pytest_ignore_collect(self, collection_path: Any) -> Optional[bool]:
        """Pass over the neighbours of single files: otherwise pytest asks its plugins about each, every time.

        What is on the way is left to the others, and so is ``__init__.py``, which makes a folder a package.
        """
        on_the_way = self.on_the_way
        if on_the_way is None or collection_path.name == "__init__.py" or str(collection_path) in on_the_way:
            return None
        return True

    def pytest_collectreport(self, report: Any) -> None:
        """Remember which files were collected, what couldn't be, and which files want to be skipped."""
        if report.nodeid and "::" not in report.nodeid:
            self.seen_files[clean(report.nodeid)] = None
        if report.skipped and "::" not in report.nodeid:
            self.skipped_files[clean(report.nodeid)] = clean(str(report.longrepr[2]))
        if report.failed:
            self.collect_errors[clean(report.nodeid)] = (
                "could not be collected",
                shortened(report.longreprtext),
            )

    def pytest_internalerror(self, excrepr: Any) -> None:
        """Say why the process will end where the agent looks; pytest's own output goes nowhere."""
        sys.stderr.write(f"{excrepr}\n")

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Gather the reports of the running test."""
        self.verdicts.reports.append(report)

    def pytest_runtestloop(self) -> bool:
        """Do what the agent asks for until it has nothing more."""
        serve(self.channel, self.measurement, {"collect": self.tell_tests, "run": self.run})
        return True

    # ---- contexts, named and switched as pytest-cov does it

    def _switch(self, item: Any, phase: str) -> None:
        self.measurement.switch(f"{item.nodeid}|{phase}")

    # ---- commands

    def tell_tests(self, _command: dict[str, Any]) -> None:
        """Collect everything and tell the agent every test id, and what could not be collected.

        A file that skips itself counts as a test, as for pytest itself: what ran until then is measured.
        Files that are left without a test (all deselected, or only helpers) are told apart: a serial run
        imports them, too.
        """
        self._collect_everything()
        ids = [*self.known, *self.skipped_files]
        for start in range(0, len(ids), IDS_PER_EVENT):
            self.channel.send("tests", ids=ids[start : start + IDS_PER_EVENT])
        errors = [failure(path, "error", *text) for path, text in self.collect_errors.items()]
        told = {each.split("::")[0] for each in (*ids, *self.collect_errors)}
        imports = [file for file in self.seen_files if file not in told and self._is_file(file)]
        self.channel.send("collected", imports=imports, errors=errors)

    def run(self, command: dict[str, Any]) -> None:
        """Run one batch: in the order of the agent's list, each batch with fixtures of its own."""
        before_s = cpu_s()
        self.measurement.switch("")
        wanted, imports = command["tests"], command["imports"]
        if self.import_all:
            self._collect_everything()
        self._collect_files_of(wanted, imports)
        runnable = [test for test in wanted if test in self.known]
        self.channel.send("running", tests=runnable)
        for test in wanted:
            if test in self.skipped_files:
                self.channel.send("test", **failure(test, "skipped", self.skipped_files[test]))
            elif test not in self.known:
                text = self.collect_errors.get(test) or self.collect_errors.get(test.split("::")[0])
                message, output = text or ("was planned, but pytest doesn't collect it here", "")
                self.channel.send("test", **failure(test, "error", message, output))
        for file in imports:
            if file in self.collect_errors:
                self.channel.send("test", **failure(file, "error", *self.collect_errors[file]))
        items = [(test, item) for test in runnable for item in self.known[test]]
        for index, (test, item) in enumerate(items):
            following = items[index + 1][1] if index + 1 < len(items) else None
            self._run_one(test, item, following)
        files = self.measurement.hand_over()
        self.channel.send("done", files=files, notes=self._notes(), cpu_s=cpu_s() - before_s)

    def _run_one(self, test: str, item: Any, following: Any) -> None:
        self.verdicts.reports.clear()
        ended = ""
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # pytest.exit(), or a broken plugin
            ended = f"{type(error).__name__}: {error}"
            item.session._setupstate.teardown_exact(None)
        if self.collect_garbage:
            gc.collect()
        self.session.shouldstop = self.session.shouldfail = False
        repeats = self.known[test]
        if item is not repeats[-1] and not ended:
            return
        outcome = (
            failure(test, "error", f"ended the test run: {ended}") if ended else self.verdicts.outcome(test)
        )
        self.channel.send("test", **outcome)
        self._checkpoint()

    def _checkpoint(self) -> None:
        """Save now and then: at most once in ``checkpoint_s``, and never for more than 2% of the time."""
        began = time.monotonic()
        if began - self.last_save >= max(self.checkpoint_s, 50 * self.save_cost_s):
            self.measurement.save()
            self.channel.send("saved")
            self.last_save = time.monotonic()
            self.save_cost_s = self.last_save - began

    def _notes(self) -> list[str]:
        notes, self.measurement.notes[:] = list(self.measurement.notes), []
        return notes

    # ---- collecting: only the files that a batch needs, each of them once

    def _path(self, file: str) -> str:
        return os.path.join(str(self.session.config.rootpath), file)

    def _is_file(self, file: str) -> bool:
        return os.path.isfile(self._path(file))

    def _collect_files_of(self, tests: Iterable[str], imports: Iterable[str]) -> None:
        unknown = (test.split("::")[0] for test in tests if test not in self.known)
        files = dict.fromkeys([*unknown, *(file for file in imports if file not in self.seen_files)])
        present = [file for file in files if file not in self.collected_files and self._is_file(file)]
        if present:
            paths = [self._path(file) for file in present]
            self.on_the_way = with_folders(paths)
            self._collect(paths)
            self.on_the_way = None
            self.collected_files.update(present)
        missing = [test for test in tests if test not in self.known and test not in self.skipped_files]
        if any(test.split("::")[0] not in self.collect_errors for test in missing):
            self._collect_everything()  # some plugins make items that aren't found by their file's path

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


def cpu_s() -> float:
    """Return the CPU seconds that this process has taken, and those of its children that have ended.

    ``os.times`` alone counts in hundredths of a second, more than a small batch may take.
    """
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def with_folders(paths: Iterable[str]) -> set[str]:
    """Return absolute paths and all folders that they lie in."""
    found = set(paths)
    for path in paths:
        while (path := os.path.dirname(path)) not in found:
            found.add(path)
    return found


def context_hooks(batches: Batches) -> Any:
    """Return the plugin that switches contexts; apart, since hooks cost time in every test."""
    import pytest

    class ContextHooks:
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_setup(self, item: Any) -> None:
            batches._switch(item, "setup")

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_call(self, item: Any) -> None:
            batches._switch(item, "run")

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_teardown(self, item: Any) -> None:
            batches._switch(item, "teardown")

    return ContextHooks()


def serve(
    channel: Channel, measurement: Measurement, commands: dict[str, Callable[[dict[str, Any]], None]]
) -> None:
    """Carry out the agent's commands, one after the other, until its input ends."""
    while True:
        command = channel.receive()
        if command is None or command["do"] == "quit":
            return
        if command["do"] == "command":
            run_command(channel, measurement, command)
        else:
            commands[command["do"]](command)


def run_command(channel: Channel, measurement: Measurement, command: dict[str, Any]) -> None:
    """Run a suite that pytest doesn't drive: ``python ...`` becomes ``python -m coverage run ...``."""
    test, argv = command["id"], command["argv"]
    channel.send("running", tests=[test])
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", "coverage", "run", f"--rcfile=:data:{measurement.child_config}", *argv[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "COVERAGE_PROCESS_CONFIG"},
    )
    output = shortened(ran.stdout.decode("utf-8", "replace"))
    outcome = failure(test, "failed" if ran.returncode else "passed", "", output if ran.returncode else "")
    outcome["duration_s"] = time.monotonic() - began
    if ran.returncode:
        outcome["message"] = f"exit status {ran.returncode}"
    channel.send("test", **outcome)
    channel.send("done", files=measurement.adopt_children(), notes=[])


def pytest_arguments(start: dict[str, Any], folder: str) -> list[str]:
    """Return pytest's command line: the user's, and what keeps other plugins from doing our work."""
    cache = os.path.join(folder, "pytest-cache")
    arguments = [*start["pytest_args"], "--maxfail=0", "-o", f"cache_dir={cache}"]
    if importlib.util.find_spec("pytest_cov"):
        arguments.append("--no-cov")
    if importlib.util.find_spec("xdist"):
        arguments.append("-n0")
    return arguments


def become_pytest(arguments: list[str]) -> None:
    """Look like ``python -m pytest`` to the tests: in ``sys.argv``, ``sys.path`` and ``__main__``."""
    spec = importlib.util.find_spec("pytest.__main__")
    assert spec is not None and spec.origin is not None
    main = types.ModuleType("__main__")
    main.__dict__.update(__spec__=spec, __package__="pytest", __file__=spec.origin, __loader__=spec.loader)
    sys.modules["__main__"] = main
    sys.argv[:] = [spec.origin, *arguments]


def die_with_parent() -> None:
    """Ask Linux to kill this process when the agent is gone, whatever a test is doing then."""
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    parent_death_signal = 1  # PR_SET_PDEATHSIG, <linux/prctl.h>
    ctypes.CDLL(None, use_errno=True).prctl(parent_death_signal, signal.SIGKILL, 0, 0, 0)


def environment() -> dict[str, str]:
    """Return what runs here, as the fields of the agent's ``Environment``."""
    return {
        "python": platform.python_version(),
        "pytest": installed_version("pytest"),
        "coverage": coverage.__version__,
        "platform": sys.platform,
    }


def installed_version(package: str) -> str:
    """Return a package's version, empty if it isn't installed."""
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def main(folder: str) -> int:
    """Serve the agent until it hangs up; return the exit status."""
    channel = Channel()
    die_with_parent()
    sys.path[0] = os.getcwd()
    start = channel.receive()
    if start is None:
        return 0
    measurement = Measurement(folder, start["branch"], start["contexts"], start["core"])
    measurement.start()
    if not start["measure"]:
        measurement.cov.stop()
    channel.send("ready", environment=environment(), measurement=measurement.described(), root=os.getcwd())
    if not start["pytest"]:
        serve(channel, measurement, {})
        return 0
    import pytest

    arguments = pytest_arguments(start, folder)
    become_pytest(arguments)
    pytest.hookimpl(trylast=True)(Batches.pytest_configure)  # when there is a terminal reporter to silence
    pytest.hookimpl(hookwrapper=True, optionalhook=True)(Batches.pytest_collect_directory)  # since pytest 8
    pytest.hookimpl(tryfirst=True)(Batches.pytest_ignore_collect)  # the others cost more
    pytest.hookimpl(tryfirst=True)(Batches.pytest_collection_finish)  # before pytest forgets
    batches = Batches(channel, measurement, start)
    plugins = [batches, context_hooks(batches)] if measurement.contexts else [batches]
    status = int(pytest.main(arguments, plugins=plugins))
    measurement.hand_over()  # what ran at the end of the test session
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
