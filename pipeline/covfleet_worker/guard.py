"""Check that measuring is still on, and switch it on again if a test switched it off.

A test may call ``sys.settrace``, run a debugger, free tool ids of ``sys.monitoring``, or start and stop
another coverage.py measurement. Stock coverage.py then measures nothing more in that process, so the figure
depends on which tests come later. Here each test leaves measuring as it found it, or is named.
"""

from __future__ import annotations

import sys
import threading
import warnings
from abc import ABC, abstractmethod
from typing import Any, Callable, Dict

import coverage
from coverage.collector import Collector


class OwnCoverage(coverage.Coverage):
    """The worker's measurement, which a test may get hold of, but which contains other tests' data, too."""

    def _on_sigterm(self, signum: int, frame: Any) -> None:
        """Save and end, even where ``-W error`` would turn coverage.py's warnings into a test's failure."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            super()._on_sigterm(signum, frame)  # type: ignore[no-untyped-call,unused-ignore]

    def erase(self) -> None:
        """Erase nothing: no test may delete the data of earlier tests."""


class Guard:
    """Guards a ``Coverage`` that has started.

    Args:
        cov: the measurement.
        core: its core: ctrace, pytrace, sysmon or monitor.
    """

    def __init__(self, cov: coverage.Coverage, core: str) -> None:
        self._cov = cov
        self._collector: Any = cov._collector
        self._stack: Any = Collector._collectors
        self._core: Core = CORES[core](self._collector)

    def fault(self) -> str:
        """Return how measuring was switched off, or an empty string. Costs a few microseconds."""
        if not self._cov._started:
            return "coverage.py's measurement was stopped"
        if not self._stack or self._stack[-1] is not self._collector:
            return "another coverage.py measurement was started and not stopped"
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
    """Stop a measurement that a test left on, so that its owner may still stop it as if it were on."""
    for owner in reversed(getattr(coverage.Coverage, "_instances", [])):
        if owner._collector is collector:
            owner.stop()
            break
    if Collector._collectors and Collector._collectors[-1] is collector:
        collector.stop()


class Core(ABC):
    """The parts of a measuring core that other code can take away."""

    def __init__(self, collector: Any) -> None:
        self._collector = collector

    @abstractmethod
    def fault(self) -> str:
        """Return what is wrong with it, or an empty string."""

    def forget(self) -> None:  # noqa: B027 - most cores have nothing to forget
        """Forget what no longer exists, before the measurement starts again."""

    @abstractmethod
    def mend(self) -> None:
        """Take the parts back."""


class TraceFunction(Core):
    """The trace function of this thread, and the hook that sets it in new threads."""

    def __init__(self, collector: Any) -> None:
        super().__init__(collector)
        self._gettrace, self._settrace = sys.gettrace, threading.settrace
        self._own: Any = self._gettrace()

    def fault(self) -> str:
        """Return how other code replaced the trace function or its hook, or an empty string."""
        if self._gettrace() is not self._own and self._gettrace() != self._own:
            return "sys.settrace replaced coverage.py's trace function"
        if self._collector.threading and threading._trace_hook != self._collector._installation_trace:  # type: ignore[attr-defined]
            return "threading.settrace replaced coverage.py's trace function"
        return ""

    def mend(self) -> None:
        """Start a new tracer: the old one is still waiting for the ends of functions that it missed."""
        collector, frame = self._collector, sys._getframe()
        # Running frames still have the old tracer; with the core "pytrace" they would keep it for good.
        while frame is not None:
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
        """Return how other code took the tool id, its events or its callbacks, or an empty string."""
        tracer, monitoring = self._tracer, self._monitoring
        if monitoring.get_tool(tracer.myid) != "coverage.py":
            return "coverage.py's tool id in sys.monitoring was freed"
        if monitoring.get_events(tracer.myid) != self._events.PY_START:
            return "coverage.py's events in sys.monitoring were switched off"
        for event, callback in self._callbacks():
            if monitoring.register_callback(tracer.myid, event, callback) != callback:
                return "coverage.py's callbacks in sys.monitoring were replaced"
        return ""

    def _callbacks(self) -> list[tuple[int, Callable[..., Any]]]:
        tracer = self._tracer
        on_line = tracer.sysmon_line_arcs if tracer.trace_arcs else tracer.sysmon_line_lines
        return [(self._events.PY_START, tracer.sysmon_py_start), (self._events.LINE, on_line)]

    def forget(self) -> None:
        """Keep tracers from freeing a tool id that now belongs to other code."""
        for tracer in self._collector.tracers:
            if self._monitoring.get_tool(tracer.myid) != "coverage.py":
                tracer.sysmon_on = False

    def mend(self) -> None:
        """Take a new tool id, and give known code its events again."""
        self.forget()
        self._tracer.stop()
        self._tracer.start()


class Monitor(Core):
    """covfleet's own core."""

    def fault(self) -> str:
        """Return how other code took its tool ids, events or callbacks, or an empty string."""
        tracers = self._collector.tracers
        return str(tracers[0].fault()) if tracers else "covfleet's core was ended"

    def mend(self) -> None:
        """Take new tool ids, and give known code its events again."""
        self._collector._gather()  # the recorded lines show which code is known
        self._collector.tracers[0].take_back()


CORES: Dict[str, Callable[[Any], Core]] = {
    "ctrace": TraceFunction,
    "pytrace": TraceFunction,
    "sysmon": SysMonitor,
    "monitor": Monitor,
}
