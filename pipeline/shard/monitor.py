"""A measuring core for coverage.py: statements with contexts, on ``sys.monitoring`` (Python 3.12 and newer).

coverage.py's own core on ``sys.monitoring`` can't switch contexts: a line's event switches itself off once it
has fired, and nothing switches it on again. This one does, for the code that fired and no other:

* ``PY_START`` fires once for each code object. If coverage.py wants its file measured, the code is armed: it
  gets ``LINE`` events of its own. Each of them notes code and line, and switches itself off. A loop on one
  line gets ``JUMP``, too: going round it, as in a generator that another test goes on with, is no new line.
* When the context changes, what was noted belongs to the old one, and the code objects that were noted are
  armed again, those of running frames included. Code that hasn't run since it was armed still is.

So a line costs one event in each context that runs it, and nothing after that, and at the beginning of each
context every line of every code object is armed. All else is coverage.py's: which files are measured, data
files, signals, nested measurements.

The worker imports this module, and only on a Python that has ``sys.monitoring``; it imports nothing of
covfleet.
"""

from __future__ import annotations

import itertools
import opcode
import os
import sqlite3
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from types import CodeType, FunctionType
from typing import Any, cast

import coverage
from coverage.collector import Collector
from coverage.exceptions import DataError
from coverage.numbits import numbits_to_nums, register_sqlite_functions

SCHEMA_VERSION = 7
"""Of the data files that ``ContextCollector`` can write by itself."""

MOST_WAYS = 64
"""In how many ways one code may run whose bits are kept."""

# 3 is Hypothesis's, 2 and 0 are profilers' and debuggers', 1 coverage.py's
_PREFERRED_TOOLS = (4, 5, 3, 2, 0, 1)
_NEEDED = {
    coverage.Coverage: ("_init_for_start", "_should_trace", "switch_context"),
    Collector: ("switch_context", "flush_data", "use_data", "cached_mapped_file", "_start_tracer"),
}
_WITHOUT_JOURNAL = """
    PRAGMA synchronous = OFF;
    PRAGMA journal_mode = MEMORY;
    PRAGMA cache_spill = OFF; -- so that nothing is written before the end of the transaction
    BEGIN
"""
_ADD_CONTEXT = "INSERT OR IGNORE INTO context (context) VALUES (?)"
_ADD_LINES = """
    INSERT INTO line_bits (file_id, context_id, numbits) VALUES (?, ?, ?)
    ON CONFLICT (file_id, context_id) DO UPDATE SET numbits = numbits_union(numbits, excluded.numbits)
"""

_EXTENDED_ARG, _JUMP_BACKWARD, _NOP, _RESUME = (
    opcode.opmap[name] for name in ("EXTENDED_ARG", "JUMP_BACKWARD", "NOP", "RESUME")
)
_CACHE = b"\0"  # what pads instructions; code may end with a jump, and has no padding after it then

_monitoring: Any = sys.monitoring  # type: ignore[attr-defined]  # the types are those of 3.11
_events = _monitoring.events
_getframe = sys._getframe  # tests replace what is in ``sys``


class UnusableError(Exception):
    """Why this core can't measure here."""


def uninterrupted(function: FunctionType) -> FunctionType:
    """Return a copy of a function that calls nothing, in which nothing else can run.

    ``RESUME``, where a function begins, is where Python looks for signals to handle, garbage to collect and
    threads to switch to. Without it a callback is one step, as if it were written in C. That matters twice:
    what a signal's handler or a finalizer runs within a callback has no events, and would be missed; and
    another thread could switch the context between noting a line and switching its event off.

    Raises:
        UnusableError: this Python begins functions in another way.
    """
    code = function.__code__
    instructions = bytearray(code.co_code)
    resumes = [at for at in range(0, len(instructions), 2) if instructions[at] == _RESUME]
    if len(resumes) != 1:
        raise UnusableError("functions of this Python don't begin as expected")
    instructions[resumes[0]] = _NOP
    bare = code.replace(co_code=bytes(instructions))
    return FunctionType(bare, function.__globals__, function.__name__, None, function.__closure__)


class Tools:
    """The tool ids of ``sys.monitoring`` that are ours for the life of the process.

    Code stays armed when measuring stops, and a tool that got our id later would get our events.
    """

    def __init__(self) -> None:
        free = (tool for tool in _PREFERRED_TOOLS if _monitoring.get_tool(tool) is None)
        found = list(itertools.islice(free, 2))
        if len(found) < 2:
            raise UnusableError("other tools have taken the tool ids of sys.monitoring")
        for tool in found:
            _monitoring.use_tool_id(tool, "covfleet")
        self.lines, self.resumes = found
        self.resume_events = _events.PY_START | _events.PY_RESUME if self._hide_resumed_lines() else 0

    def _hide_resumed_lines(self) -> bool:
        """Say whether a line on which a function begins or is resumed has no event, as in 3.13.

        It does have one where the instruction before it, ``RESUME``, has events, too: cpython issue 155992.
        They are under an id of their own, since an event of ours switches itself off.
        """
        seen: list[int] = []
        function: Callable[[], None] = lambda: None  # noqa: E731 - it must be on one line
        _monitoring.register_callback(self.lines, _events.LINE, lambda _code, line: seen.append(line))
        _monitoring.set_local_events(self.lines, function.__code__, _events.LINE)
        function()
        _monitoring.set_local_events(self.lines, function.__code__, 0)
        _monitoring.register_callback(self.lines, _events.LINE, None)
        return not seen


_tools: Tools | None = None


def tools() -> Tools:
    """Return our tool ids. Raises ``UnusableError`` if they can't be had."""
    global _tools  # noqa: PLW0603 - there is one ``sys.monitoring`` in a process, too
    if _tools is None:
        _tools = Tools()
    return _tools


class Known:
    """What is known of code that has run: its file, the events that it gets, and the bits of its lines."""

    __slots__ = ("_bits", "code", "events", "source")

    def __init__(self, code: CodeType, source: str, gone: Callable[[Any], object]) -> None:
        loops = _JUMP_BACKWARD in code.co_code[::2] and any(_loops_on_one_line(code))
        self.code = weakref.ref(code, gone)
        self.source = source
        self.events = int(_events.LINE | _events.JUMP if loops else _events.LINE)
        self._bits: dict[tuple[int, ...], int] = {}

    def bits(self, way: tuple[int, ...]) -> int:
        """Return a number with a bit for each of the lines that were noted, in the order in which they ran.

        Code runs in the same few ways in most contexts, and looking them up is cheaper than adding up bits.
        """
        known = self._bits.get(way)
        if known is None:
            if len(self._bits) >= MOST_WAYS:
                self._bits.clear()
            known = self._bits[way] = self._added_up(way)
        return known

    def _added_up(self, noted: Iterable[int]) -> int:
        code, bits = self.code(), 0
        assert code is not None
        for number in noted:
            line = number if number >= 0 else _line_at(code, ~number)  # where a jump has led is noted so
            bits |= 0 if line is None else 1 << line
        return bits


class Monitor:
    """The core: what coverage.py calls a tracer. There is one for all threads."""

    should_trace: Callable[[str, Any], Any]
    should_trace_cache: dict[str, Any]

    def __init__(self) -> None:
        self._tools = tools()
        self._ended: list[Any] = []  # runs of lines: code, a list of them, code, a list of them ...
        self._end_runs: Callable[[], None] = lambda: None
        self._known: dict[int, Known] = {}  # by the code's id: a code's hash goes through all of it
        self._callbacks: dict[int, FunctionType] = {}  # by event

    def _decide(self, name: str) -> None:
        """Let coverage.py judge a file when the first of its code starts."""
        self.should_trace_cache[name] = self.should_trace(name, _getframe(1))

    def _known_of(self, code: CodeType) -> Known:
        key = id(code)
        known = self._known.get(key)
        if known is None:
            source = self.should_trace_cache[code.co_filename].source_filename
            known = self._known[key] = Known(code, source, lambda _: self._known.pop(key, None))
        return known

    def take(self, keep: Callable[[dict[str, int]], None]) -> None:
        """Give ``keep`` the lines that ran since the last call, by source file, and arm their code again.

        A file's lines are the bits of a number. Whatever is raised on the way, such as by the handler of a
        signal, they are forgotten only at the end.
        """
        self._end_runs()
        count = len(self._ended)
        by_file: dict[str, int] = {}
        ran: list[tuple[CodeType, int]] = []
        for code, lines in _by_code(self._ended[:count]):
            known = self._known_of(code)
            by_file[known.source] = by_file.get(known.source, 0) | known.bits(tuple(lines))
            ran.append((code, known.events))
        keep(by_file)
        self._arm_again(ran)
        del self._ended[:count]  # what other threads have added meanwhile stays

    def _arm_again(self, ran: list[tuple[CodeType, int]]) -> None:
        """Switch on the events of code, which have switched themselves off.

        All in one call: if another thread ran between off and on, it would miss lines.
        """
        tool = self._tools.lines
        calls = [(tool, code, wanted) for code, events in ran for wanted in (0, events)]
        deque(itertools.starmap(_monitoring.set_local_events, calls), maxlen=0)

    # ---- what coverage.py's collector asks of a tracer

    def start(self) -> None:
        """Begin, or go on after ``stop``."""
        if not self._callbacks:
            made, end_runs = _callbacks(self._ended, self._tools, self.should_trace_cache, self._decide)
            self._callbacks = {event: uninterrupted(callback) for event, callback in made.items()}
            self._end_runs = uninterrupted(end_runs)
        for event, callback in self._callbacks.items():
            _monitoring.register_callback(self._tools.lines, event, callback)
        _monitoring.set_events(self._tools.lines, _events.PY_START)

    def stop(self) -> None:
        """Measure nothing until ``start``; what is armed stays so."""
        _monitoring.set_events(self._tools.lines, 0)
        for event in self._callbacks:
            _monitoring.register_callback(self._tools.lines, event, None)

    def post_fork(self) -> None:
        """Make room for the measurement of a child process."""
        self.stop()

    def activity(self) -> bool:
        """Say that there may be something to save."""
        return True

    def reset_activity(self) -> None:
        """Do nothing: see ``activity``."""

    def get_stats(self) -> None:
        """Return no statistics."""


def _by_code(runs: Iterable[Any]) -> Iterable[tuple[CodeType, list[int]]]:
    """Return each code of the runs with all that was noted of it."""
    by_id: dict[int, tuple[CodeType, list[int]]] = {}  # a code's hash goes through all of it
    flat = iter(runs)
    for code, lines in zip(flat, flat, strict=True):
        key = id(code)
        if key in by_id:
            known = by_id[key][1]
            known += lines
        else:
            by_id[key] = code, lines
    return by_id.values()


def _callbacks(
    ended: list[Any], ids: Tools, dispositions: Mapping[str, Any], decide: Callable[[str], None]
) -> tuple[dict[int, FunctionType], FunctionType]:
    """Return what each event calls, and what ends the runs of lines that they note.

    After a call Python looks for other things to do. So they call nothing, except ``decide``, once for each
    file: a list grows by ``+=``, and code is armed by an iterator, a step of which is a call made in C.
    """
    on_line, on_jump, end_runs = _noting(ended)
    made = {
        _events.PY_START: _starting(ids, dispositions, decide),
        _events.LINE: on_line,
        _events.JUMP: on_jump,
    }
    return cast("dict[int, FunctionType]", made), cast("FunctionType", end_runs)


def _starting(
    ids: Tools, dispositions: Mapping[str, Any], decide: Callable[[str], None]
) -> Callable[[CodeType, int], Any]:
    """Return what arms code when it runs for the first time."""
    off = _monitoring.DISABLE
    started: list[CodeType] = []
    arming = zip(
        _arming(ids.resumes, started, ids.resume_events),
        _arming(ids.lines, started, _events.LINE),
        strict=True,
    )

    def on_start(code: CodeType, _offset: int) -> Any:
        nonlocal started
        name = code.co_filename
        if name not in dispositions:
            decide(name)
        if dispositions[name].trace:
            started += (code, code)
            for _ in arming:
                break
            started *= 0
        return off

    return on_start


def _noting(ended: list[Any]) -> tuple[Callable[..., Any], ...]:
    """Return what notes lines and jumps, and switches them off; and what ends the runs of them.

    Lines of one code that follow each other are a run; where a jump led is noted as ``~offset``.
    """
    off = _monitoring.DISABLE
    running: CodeType | None = None
    runs: list[Any] = []
    lines: list[int] = []

    def on_line(code: CodeType, line: int) -> Any:
        nonlocal running, runs, lines
        if code is not running:
            running = code
            lines = []
            runs += (code, lines)
        lines += (line,)
        return off

    def on_jump(code: CodeType, offset: int, destination: int) -> Any:
        nonlocal running, runs, lines
        if destination <= offset:
            if code is not running:
                running = code
                lines = []
                runs += (code, lines)
            lines += (~destination,)
        return off

    def end_runs() -> None:
        nonlocal running, runs, ended
        running = None
        ended += runs
        runs *= 0

    return on_line, on_jump, end_runs


def _arming(tool: int, codes: list[CodeType], events: int) -> Iterator[Any]:
    """Return an endless iterator whose every step takes the last of ``codes`` and arms it."""
    taken = iter(codes.pop, None)
    return map(_monitoring.set_local_events, itertools.repeat(tool), taken, itertools.repeat(events))


def _loops_on_one_line(code: CodeType) -> Iterator[bool]:
    """Say of each jump backward, in order, whether it ends on the line where it begins."""
    instructions, argument = code.co_code, 0
    for at in range(0, len(instructions), 2):
        operation, argument = instructions[at], argument << 8 | instructions[at + 1]
        if operation == _EXTENDED_ARG:
            continue
        if operation == _JUMP_BACKWARD:
            following = at + 2
            while instructions[following : following + 1] == _CACHE:
                following += 2
            yield _line_at(code, at) == _line_at(code, following - 2 * argument)
        argument = 0


def _line_at(code: CodeType, offset: int) -> int | None:
    return next((line for start, end, line in code.co_lines() if start <= offset < end), None)


class ContextCoverage(coverage.Coverage):
    """coverage.py with this core."""

    def _init_for_start(self) -> None:
        super()._init_for_start()
        core, collector = self._core, self._collector
        assert core is not None and collector is not None
        core.tracer_class = cast("Any", Monitor)
        core.systrace = core.packed_arcs = False
        collector.__class__ = ContextCollector
        assert isinstance(collector, ContextCollector)
        collector.begin()


def take_over(cov: coverage.Coverage) -> None:
    """Give this core to a ``Coverage`` that hasn't started.

    coverage.py has no place where a core could be plugged in: it makes its objects, and they become ours.

    Raises:
        UnusableError: it can't measure here.
    """
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise UnusableError("without the global interpreter lock, events of threads are not one step")
    for class_, names in _NEEDED.items():
        if missing := [name for name in names if not hasattr(class_, name)]:
            raise UnusableError(f"coverage {coverage.__version__} has no {class_.__name__}.{missing[0]}")
    ids = tools()
    callbacks, end_runs = _callbacks([], ids, {}, lambda _name: None)
    for function in (*callbacks.values(), end_runs):
        uninterrupted(function)
    cov.__class__ = ContextCoverage


class ContextCollector(Collector):
    """coverage.py's collector, which keeps lines by context in memory until they are asked for.

    The stock one writes to the data file at each switch of the context, a transaction for each of its files.
    """

    _lines: dict[tuple[str, str], int]  # context and file -> the bits of its lines
    _is_writing: bool

    def begin(self) -> None:
        """Become one, after having been made as a stock collector."""
        self._lines = {}
        self._is_writing = False
        os.register_at_fork(after_in_child=self._forget_parent)

    def _forget_parent(self) -> None:
        """Forget, in a forked process, what its parent is going to write, and see those lines again."""
        self._gather()
        self._lines = {}

    def switch_context(self, new_context: str | None) -> str | None:
        """Attribute what runs from now on to another context; return the one before."""
        self._gather()
        before = self._context()
        self.covdata.set_context("|".join(name for name in (self.static_context, new_context) if name))
        return before

    def _context(self) -> str:
        return self.covdata._current_context or ""

    def _gather(self) -> None:
        for tracer in self.tracers:
            assert isinstance(tracer, Monitor)
            tracer.take(self._keep)

    def _keep(self, lines_by_file: Mapping[str, int]) -> None:
        context = self._context()
        for source, lines in lines_by_file.items():
            key = context, self.cached_mapped_file(source)
            self._lines[key] = self._lines.get(key, 0) | lines

    def flush_data(self) -> bool:
        """Write what was gathered, whatever its context, and return true: there is a data file now.

        Within itself, as in the handler of a signal that came while it writes, it does nothing: the process
        is about to end, and nobody was told that the lines of the unfinished transaction are safe.
        """
        if self._is_writing:
            return False
        self._is_writing = True
        try:
            self._gather()
            self._write()
        finally:
            self._is_writing = False
        return True

    def _write(self) -> None:
        data, lines = self.covdata, self._lines
        data.add_lines({})  # makes the data file, or another one after a fork
        data.touch_files(sorted({file for _, file in lines}))
        try:
            with closing(sqlite3.connect(data.data_filename(), isolation_level=None)) as connection:
                if connection.execute("SELECT version FROM coverage_schema").fetchone() != (SCHEMA_VERSION,):
                    self._write_slowly()
                else:
                    _write_rows(connection, lines)
        except sqlite3.Error as error:
            raise DataError(f"Couldn't use data file {data.data_filename()!r}: {error}") from error
        self._lines = {}

    def _write_slowly(self) -> None:
        """Write through the public interface, which knows all forms of data files."""
        context = self.covdata._current_context
        for (name, file), lines in self._lines.items():
            self.covdata.set_context(name)
            self.covdata.add_lines({file: numbits_to_nums(_numbits(lines))})
        self.covdata.set_context(context)


def _numbits(lines: int) -> bytes:
    """Return the bits of lines as coverage.py stores them: ``coverage.numbits``."""
    return lines.to_bytes((lines.bit_length() + 7) // 8, "little")


def _write_rows(connection: sqlite3.Connection, lines: Mapping[tuple[str, str], int]) -> None:
    """Add lines to a data file whose files are known, in one transaction."""
    register_sqlite_functions(connection)
    connection.executescript(_WITHOUT_JOURNAL)
    contexts = dict.fromkeys(context for context, _ in lines)
    connection.executemany(_ADD_CONTEXT, ((context,) for context in contexts))
    context_ids = _ids(connection, "SELECT context, id FROM context")
    file_ids = _ids(connection, "SELECT path, id FROM file")
    connection.executemany(
        _ADD_LINES,
        ((file_ids[file], context_ids[name], _numbits(bits)) for (name, file), bits in lines.items()),
    )
    connection.execute("COMMIT")


def _ids(connection: sqlite3.Connection, query: str) -> dict[str, int]:
    rows: Iterable[tuple[str, int]] = connection.execute(query)
    return dict(rows)
