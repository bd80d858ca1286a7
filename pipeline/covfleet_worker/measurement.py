"""coverage.py in a worker: the core, contexts, and a data file for each batch."""

from __future__ import annotations

import os
import re
import signal
import sys
import warnings
from typing import Any, Optional

import coverage

from .channel import clean
from .guard import Guard, OwnCoverage
from .scope import Scope
from .settings import apply, as_ini, to_text

HERE = os.path.dirname(os.path.abspath(__file__))
OWN_FOLDER = ".covfleet"  # in the project: copies of its sources, among other things
FINISHED_CHILD = re.compile(r"^\.coverage\..*\.H\w{10}h$")  # the hash is added to the name at the very end
CORES = {"CTracer": "ctrace", "PyTracer": "pytrace", "SysMonitor": "sysmon", "Monitor": "monitor"}


def below(folder: str) -> str:
    """Return a coverage.py pattern for everything in a folder."""
    return os.path.join(re.sub(r"[][*?]", "?", folder), "*")


class WorkerCoverage:
    """coverage.py with the application's own settings and those that distribution adds.

    ``settings`` are those of the plan as text; without them they are read from the project's folder.
    """

    def __init__(
        self, folder: str, branch: Optional[bool], contexts: bool, core: str, settings: str = ""
    ) -> None:
        self.contexts = contexts
        self.notes: list[str] = []
        self.guard: Optional[Guard] = None  # None while nothing is measured
        self._folder = folder
        self._root = os.path.join(os.getcwd(), "")
        self._done = os.path.join(folder, "done")
        self._handed_over = 0
        self._measured: set[str] = set()  # paths in the data that was handed over since the agent was told
        os.makedirs(self._done, exist_ok=True)
        self.cov = self._coverage(folder, branch, settings)
        self.settings = to_text(self.cov.config)
        self._configure(core)

    @staticmethod
    def _coverage(folder: str, branch: Optional[bool], settings: str) -> coverage.Coverage:
        def make(config_file: Any) -> coverage.Coverage:
            return OwnCoverage(
                data_file=os.path.join(folder, ".coverage"),
                data_suffix=True,
                config_file=config_file,
                branch=branch,
            )

        if settings:
            config_file = os.path.join(folder, "coveragerc")
            with open(config_file, "w", encoding="utf-8") as file:
                file.write(as_ini(settings))
            cov = make(False)
            apply(cov, settings)
            cov.config.config_file = config_file
            return cov
        cov = make(True)
        if cov.config.config_file is None:  # coverage.py passes only settings from a file on to subprocesses
            config_file = os.path.join(folder, "coveragerc")
            with open(config_file, "w", encoding="utf-8") as file:
                file.write("[run]\n")
            cov = make(config_file)
        return cov

    def _configure(self, core: str) -> None:
        set_option = self.cov.set_option
        set_option("run:parallel", True)
        set_option("run:relative_files", True)
        set_option("run:sigterm", True)
        set_option("run:patch", sorted({*self._listed("run:patch"), "subprocess"}))
        set_option("run:omit", [*self._listed("run:omit"), *map(below, (HERE, self._root + OWN_FOLDER))])
        if "multiprocessing" in self._listed("run:concurrency"):
            # Its children read the settings file again, which doesn't contain the location of our data.
            os.environ["COVERAGE_FILE"] = self.cov.config.data_file
        self.wanted_core = self._chosen_core(core)
        # Subprocesses don't switch contexts and don't load our code.
        set_option("run:core", "ctrace" if self.wanted_core == "monitor" else self.wanted_core)

    def _listed(self, option: str) -> list[str]:
        found = self.cov.get_option(option)
        return list(found) if isinstance(found, (list, tuple)) else []

    def _chosen_core(self, core: str) -> str:
        """Return the core in covfleet's settings, or in the project's own, or the fastest exact one.

        With contexts, coverage.py's core on sys.monitoring would silently lose data; ours doesn't.
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
        """Make coverage.py use covfleet's own core, or return why it can't."""
        option = self.cov.get_option
        refusals = (
            (not self.contexts, "it is only for test contexts"),
            (option("run:branch"), "it doesn't measure branches"),
            (option("run:plugins"), "it doesn't support coverage.py's plugins"),
            (option("run:dynamic_context"), "dynamic_context is set"),
            (option("run:timid"), "timid is set"),
            (sys.version_info < (3, 12), "it needs Python 3.12 or newer"),
        )
        for refused, reason in refusals:
            if refused:
                return reason
        from . import callbacks, collector  # only here is sys.monitoring available

        try:
            collector.take_over(self.cov)
        except callbacks.UnusableError as error:
            self.notes.append(f"measured with the C tracer, which is slower: {error}")
            return str(error)
        return ""

    def _fastest_core(self) -> str:
        """Return coverage.py's fastest core that is correct for these settings, without contexts.

        sys.monitoring can't measure branches before Python 3.14 and doesn't support file tracers or
        greenlets: coverage.py would warn and lose data, or fall back.
        """
        option = self.cov.get_option
        needs_tracer = (
            option("run:dynamic_context")
            or option("run:plugins")
            or option("run:timid")
            or set(self._listed("run:concurrency")) - {"thread", "multiprocessing"}
        )
        measurable = sys.version_info >= ((3, 14) if option("run:branch") else (3, 12))
        return "sysmon" if measurable and not needs_tracer else "ctrace"

    def start(self) -> None:
        """Start measuring; refuse to continue with any core but the chosen one."""
        with self._noting_warnings():
            self.cov.start()
        self._configure_children()
        self.core = CORES.get(dict(self.cov.sys_info()).get("core", ""), "unknown")
        self.branch = bool(self.cov.get_option("run:branch"))
        if self.core != self.wanted_core and not self.cov.get_option("run:timid"):
            said = "; ".join(self.notes)
            raise SystemExit(f"coverage.py measures with {self.core} instead of {self.wanted_core}: {said}")
        self.guard = Guard(self.cov, self.core)
        self.scope = Scope(self.cov, os.getcwd())

    def stop(self) -> None:
        """Stop measuring for good; SIGTERM then ends the process, and saves nothing before."""
        self.guard = None
        self.cov.stop()
        if signal.getsignal(signal.SIGTERM) == self.cov._on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def ensure_on(self) -> str:
        """Switch measuring on again if it is off, and return how it was switched off."""
        fault = self.guard.fault() if self.guard else ""
        if fault and self.guard:
            with self._noting_warnings():
                self.guard.mend()
        return fault

    def _configure_children(self) -> None:
        """Make subprocesses record absolute paths.

        coverage.py makes paths relative to the folder in which a process starts, and a subprocess may start
        anywhere: ``x.py`` in another folder would be taken for the project's.
        """
        self.cov.set_option("run:relative_files", False)
        self.child_config = os.environ["COVERAGE_PROCESS_CONFIG"] = self.cov.config.serialize()
        self.cov.set_option("run:relative_files", True)

    def described(self) -> dict[str, Any]:
        """Return the fields of the agent's ``Measurement``."""
        return {"branch": self.branch, "contexts": self.contexts, "core": self.core}

    def _noting_warnings(self) -> Any:
        """Return a context manager that turns coverage.py's warnings into notes."""
        return NotedWarnings(self.notes)

    def switch(self, context: str) -> None:
        """Attribute the following code to ``context``, if contexts are recorded."""
        if self.contexts and self.cov._started:  # unless a test has stopped it
            self.cov.switch_context(context)

    def save(self) -> Any:
        """Write the data measured so far to the data file and return coverage.py's data object."""
        with self._noting_warnings():
            data = self.cov.get_data()
            data.write()
        self._check_on_disk(data)
        if self.core == "sysmon":
            # A line event switches itself off once it has fired. Without this, lines that ran in one batch
            # would be missing from the next one's file, and coverage.py would think that nothing happened.
            sys.monitoring.restart_events()  # type: ignore[attr-defined]
        return data

    @staticmethod
    def _check_on_disk(data: Any) -> None:
        """Refuse to continue if a test deleted the data file: coverage.py would silently start another."""
        path = data.data_filename()
        written = coverage.CoverageData(path)
        written.read()
        written.close()
        if written.measured_files() != data.measured_files():
            with open(path, "wb"):  # an empty file isn't sound, so the agent counts no test as saved
                raise RuntimeError(f"coverage's data file {path} was deleted or replaced while tests ran")

    def hand_over(self) -> list[str]:
        """Close the batch's data file, move it to ``done`` and start a new one; return the file's name."""
        self.switch("")
        data = self.save()
        self._measured |= data.measured_files()
        path = data.data_filename()
        data.close()
        names = []
        if os.path.exists(path):
            self._handed_over += 1
            names.append(f"{os.path.basename(path)}.b{self._handed_over}")
            os.replace(path, os.path.join(self._done, names[0]))
        data.erase()
        # erase() doesn't reset these, and the next file would not declare whether it contains lines or arcs.
        data._has_lines = data._has_arcs = False
        return names + self.adopt_children()

    def observed(self) -> dict[str, Any]:
        """Return what is known of what was handed over, as the fields of the agent's ``Observed``."""
        paths, self._measured = self._measured, set()
        return {"files": self.scope.seen(paths), "strangers": self.scope.strangers()}

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
            self._measured |= adopted.measured_files()
        except coverage.CoverageException as error:  # the agent judges the file as it is
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
