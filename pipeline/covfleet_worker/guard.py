"""Whether measuring is still on, and how it is switched on again when a test has switched it off.

A test may call ``sys.settrace``, run a debugger, free tool ids of ``sys.monitoring``, or start and stop a
measurement of coverage.py's own. Stock coverage.py then measures nothing more in that process, so the figure
depends on which tests came later. Here each test leaves measuring as it found it, or is named.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Callable

import coverage
from coverage.collector import Collector


class OwnCoverage(coverage.Coverage):
    """The worker's measurement, which holds more than the test that gets hold of it."""

    def erase(self) -> None:
        """Erase nothing: what earlier tests have executed is not for a later one to forget."""


class Guard:
    """Looks after one ``Coverage`` that has started.

    Args:
        cov: the measurement.
        core: what it measures with: ctrace, pytrace, sysmon or monitor.
    """

    def __init__(self, cov: coverage.Coverage, core: str) -> None:
        self._cov = cov
        self._collector: Any = cov._collector
        self._stack: Any = Collector._collectors
        self._core: Core = CORES[core](self._collector)

    def fault(self) -> str:
        """Return how measuring was switched off, empty if it is on. Costs less than a microsecond."""
        if not self._cov._started:
            return "coverage.py's measurement was stopped"
        if not self._stack or self._stack[-1] is not self._collector:
            return "another measurement of coverage.py was started and not stopped"
        return self._core.fault()

    def mend(self) -> None:
        """Switch measuring on again."""
        while self._stack and self._stack[-1] is not self._collector and self._collector in self._stack:
            _end(self._stack[-1])
        if not self._cov._started:
            self._core.forget()
            self._cov.start()
        elif self._collector not in self._stack:
            self._stack.append(self._collector)
        self._core.mend()


def _end(collector: Any) -> None:
    """End a measurement that a test left on, so that its owner may still stop it, as if it were on."""
    for owner in reversed(getattr(coverage.Coverage, "_instances", [])):
        if owner._collector is collector:
            owner.stop()
            break
    if Collector._collectors and Collector._collectors[-1] is collector:
        collector.stop()


class Core:
    """What coverage.py measures with, as far as others can take it away."""

    def __init__(self, collector: Any) -> None:
        self._collector = collector

    def fault(self) -> str:
        """Return what is wrong with it, empty if nothing is."""
        raise NotImplementedError

    def forget(self) -> None:
        """Let go of what is no longer there, before the measurement starts again."""

    def mend(self) -> None:
        """Take it back."""
        raise NotImplementedError


class TraceFunction(Core):
    """The trace function of this thread, and what gives new threads theirs."""

    def __init__(self, collector: Any) -> None:
        super().__init__(collector)
        self._gettrace, self._settrace = sys.gettrace, threading.settrace
        self._own: Any = self._gettrace()

    def fault(self) -> str:
        """Say whether somebody has called ``sys.settrace`` or ``threading.settrace``."""
        if self._gettrace() is not self._own and self._gettrace() != self._own:
            return "sys.settrace took the place of coverage.py's trace function"
        if self._collector.threading and threading._trace_hook != self._collector._installation_trace:  # type: ignore[attr-defined]
            return "threading.settrace took the place of coverage.py's trace function"
        return ""

    def mend(self) -> None:
        """Begin with a new tracer: the old one still waits for the ends of functions that it didn't see."""
        collector, frame = self._collector, sys._getframe()
        while frame is not None:  # what began before has the old tracer, in Python's own for good
            frame.f_trace = None
            frame = frame.f_back  # type: ignore[assignment]
        if collector.tracers:
            collector.tracers.pop(0).stop()
        collector._start_tracer()
        collector.tracers.insert(0, collector.tracers.pop())
        self._own = self._gettrace()
        if collector.threading:
            self._settrace(collector._installation_trace)


class SysMonitor(Core):
    """coverage.py's core on ``sys.monitoring``."""

    def __init__(self, collector: Any) -> None:
        super().__init__(collector)
        self._monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
        self._events = self._monitoring.events

    @property
    def _tracer(self) -> Any:
        return self._collector.tracers[0]

    def fault(self) -> str:
        """Say whether somebody has taken the tool id, its events or its callbacks."""
        tracer, monitoring = self._tracer, self._monitoring
        if monitoring.get_tool(tracer.myid) != "coverage.py":
            return "coverage.py's tool id of sys.monitoring was freed"
        if monitoring.get_events(tracer.myid) != self._events.PY_START:
            return "coverage.py's events of sys.monitoring were switched off"
        for event, callback in self._callbacks():
            if monitoring.register_callback(tracer.myid, event, callback) != callback:
                return "coverage.py's callbacks of sys.monitoring were replaced"
        return ""

    def _callbacks(self) -> list[tuple[int, Callable[..., Any]]]:
        tracer = self._tracer
        on_line = tracer.sysmon_line_arcs if tracer.trace_arcs else tracer.sysmon_line_lines
        return [(self._events.PY_START, tracer.sysmon_py_start), (self._events.LINE, on_line)]

    def forget(self) -> None:
        """Let no tracer free a tool id that is somebody else's by now."""
        for tracer in self._collector.tracers:
            if self._monitoring.get_tool(tracer.myid) != "coverage.py":
                tracer.sysmon_on = False

    def mend(self) -> None:
        """Take a tool id anew, and let the code that is known have its events again."""
        self.forget()
        self._tracer.stop()
        self._tracer.start()


class Monitor(Core):
    """covfleet's own core."""

    def fault(self) -> str:
        """Say whether somebody has taken its tool ids, events or callbacks."""
        tracers = self._collector.tracers
        return str(tracers[0].fault()) if tracers else "covfleet's core was ended"

    def mend(self) -> None:
        """Take tool ids anew, and let the code that is known have its events again."""
        self._collector._gather()  # what was noted tells which code is known
        self._collector.tracers[0].take_back()


CORES = {"ctrace": TraceFunction, "pytrace": TraceFunction, "sysmon": SysMonitor, "monitor": Monitor}
