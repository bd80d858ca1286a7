"""A measuring core for coverage.py: statements with contexts, on ``sys.monitoring`` (Python 3.12 and newer).

coverage.py's own core on ``sys.monitoring`` can't switch contexts: a line's event switches itself off once it
has fired, and nothing switches it on again. This core does, for exactly the code that fired:

* ``PY_START`` fires once for each code object. If coverage.py wants to measure its file, the code is armed:
  it gets local ``LINE`` events. Each of them records code and line, and switches itself off. Code with a loop
  on one line gets ``JUMP`` events, too: another iteration, as in a generator that another test resumes, isn't
  a new line.
* When the context changes, the recorded lines belong to the old one, and their code objects are armed again,
  including those of running frames. Code that hasn't run since it was armed still is.

So a line costs one event in each context that runs it and nothing after that, and at the start of each
context every line of every code object is armed. Everything else is coverage.py's: the choice of files, data
files, signals, nested measurements; ``collector.py`` integrates this core.

``callbacks.py`` records what runs, ``ran_code.py`` interprets it. The worker imports all three only on a
Python that has ``sys.monitoring``.
"""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType
from typing import Any

from .callbacks import UnusableError, callbacks, tool_ids, uninterrupted
from .ran_code import RanCode

_monitoring: Any = sys.monitoring  # type: ignore[attr-defined]  # the types are those of 3.11
_events = _monitoring.events
_getframe = sys._getframe  # tests may replace it in ``sys``


class Monitor:
    """The core: what coverage.py calls a tracer. There is one for all threads."""

    should_trace: Callable[[str, Any], Any]
    should_trace_cache: dict[str, Any]

    def __init__(self) -> None:
        self._ids = tool_ids()
        self._ended: list[Any] = []  # runs of lines: code, a list of them, code, a list of them ...
        self._end_runs: Callable[[], None] = lambda: None
        self._ran_code: dict[int, RanCode] = {}  # by the code's id: computing a code's hash reads all of it
        self._callbacks: dict[int, FunctionType] = {}  # by event

    def _decide(self, name: str) -> None:
        """Let coverage.py decide on a file when its first code starts."""
        self.should_trace_cache[name] = self.should_trace(name, _getframe(1))

    def _ran_code_of(self, code: CodeType) -> RanCode:
        key = id(code)
        ran_code = self._ran_code.get(key)
        if ran_code is None:
            source = self.should_trace_cache[code.co_filename].source_filename
            ran_code = RanCode(code, source, lambda _: self._ran_code.pop(key, None))
            self._ran_code[key] = ran_code
        return ran_code

    def take(self, keep: Callable[[dict[str, int]], None]) -> None:
        """Pass ``keep`` the lines that ran since the last call, by source file, and arm their code again.

        A file's lines are the bits of a number. If an exception is raised on the way, for example by a signal
        handler, no lines are lost: they are deleted only at the end.
        """
        self._end_runs()
        count = len(self._ended)
        by_file: dict[str, int] = {}
        ran: list[tuple[CodeType, int]] = []
        for code, lines in _by_code(self._ended[:count]):
            ran_code = self._ran_code_of(code)
            by_file[ran_code.source] = by_file.get(ran_code.source, 0) | ran_code.bits(tuple(lines))
            ran.append((code, ran_code.events))
        keep(by_file)
        if self._ids.are_ours:  # otherwise ``take_back`` arms all code
            self._arm_again(ran)
        del self._ended[:count]  # keeps what other threads have added meanwhile

    def _arm_again(self, ran: list[tuple[CodeType, int]]) -> None:
        """Switch the events of code on again after they have switched themselves off.

        It takes a single call: lines of another thread that ran between off and on would be missed.
        """
        tool = self._ids.lines
        calls = [(tool, code, wanted) for code, events in ran for wanted in (0, events)]
        deque(itertools.starmap(_monitoring.set_local_events, calls), maxlen=0)

    # ---- the interface that coverage.py's collector expects from a tracer

    def start(self) -> None:
        """Start, or continue after ``stop``. Raises ``UnusableError`` if others have all tool ids by now."""
        ids = tool_ids()
        if ids is not self._ids or not self._callbacks:
            self._end_runs()
            self._ids = ids
            by_event, end_runs = callbacks(self._ended, self._ids, self.should_trace_cache, self._decide)
            self._callbacks = {event: uninterrupted(callback) for event, callback in by_event.items()}
            self._end_runs = uninterrupted(end_runs)
        for event, callback in self._callbacks.items():
            _monitoring.register_callback(self._ids.lines, event, callback)
        _monitoring.set_events(self._ids.lines, _events.PY_START)

    def fault(self) -> str:
        """Return what other code took away (tool ids, events or callbacks), or an empty string."""
        tool = self._ids.lines
        if not self._ids.are_ours:
            return "the tool ids of covfleet's core on sys.monitoring were freed"
        if _monitoring.get_events(tool) != _events.PY_START:
            return "the events of covfleet's core on sys.monitoring were switched off"
        for event, callback in self._callbacks.items():
            if _monitoring.register_callback(tool, event, callback) is not callback:
                return "the callbacks of covfleet's core on sys.monitoring were replaced"
        return ""

    def take_back(self) -> None:
        """Continue as if nothing had been taken away, even in suspended functions."""
        self.start()
        for ran_code in list(self._ran_code.values()):
            if (code := ran_code.code()) is not None:
                _monitoring.set_local_events(self._ids.lines, code, ran_code.events)
                _monitoring.set_local_events(self._ids.resumes, code, self._ids.resume_events)
        _monitoring.restart_events()

    def stop(self) -> None:
        """Measure nothing until ``start``, for example while another measurement is nested in this one.

        Armed code stays armed, and code that starts meanwhile is armed, too: it may continue afterwards.
        """
        if self._ids.are_ours:
            for event in self._callbacks.keys() - {_events.PY_START}:
                _monitoring.register_callback(self._ids.lines, event, None)

    def end(self) -> None:
        """Stop measuring for good, unless ``start`` is called."""
        self.stop()
        if self._ids.are_ours:
            _monitoring.set_events(self._ids.lines, 0)
            _monitoring.register_callback(self._ids.lines, _events.PY_START, None)

    def post_fork(self) -> None:
        """Make room for the measurement of a child process."""
        self.end()

    def activity(self) -> bool:
        """Return true: there may be something to save."""
        return True

    def reset_activity(self) -> None:
        """Do nothing: see ``activity``."""

    def get_stats(self) -> None:
        """Return no statistics."""


def check_usable() -> None:
    """Check that this core can measure in this process.

    Raises:
        UnusableError: it can't.
    """
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise UnusableError("without the global interpreter lock, events of threads are not one step")
    by_event, end_runs = callbacks([], tool_ids(), {}, lambda _name: None)
    for function in (*by_event.values(), end_runs):
        uninterrupted(function)


def _by_code(runs: Iterable[Any]) -> Iterable[tuple[CodeType, list[int]]]:
    """Return each code in the runs with all its recorded lines."""
    by_id: dict[int, tuple[CodeType, list[int]]] = {}  # computing a code's hash reads all of it
    flat = iter(runs)
    for code, lines in zip(flat, flat, strict=True):
        key = id(code)
        if key in by_id:
            noted = by_id[key][1]
            noted += lines
        else:
            by_id[key] = code, lines
    return by_id.values()
