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
files, signals, nested measurements; ``collector.py`` ties it in.

The worker imports this module only on a Python that has ``sys.monitoring``.
"""

from __future__ import annotations

import itertools
import opcode
import operator
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any, cast

TOOL = "covfleet"
"""Our name as a tool of ``sys.monitoring``."""

MOST_WAYS = 64
"""In how many ways one code may run whose bits are kept."""

# 3 is Hypothesis's, 2 and 0 are profilers' and debuggers', 1 coverage.py's
_PREFERRED_TOOLS = (4, 5, 3, 2, 0, 1)

_EXTENDED_ARG, _JUMP_BACKWARD, _NOP, _RESUME = (
    opcode.opmap[name] for name in ("EXTENDED_ARG", "JUMP_BACKWARD", "NOP", "RESUME")
)
_CACHE = b"\0"  # what pads instructions; code may end with a jump, and has no padding after it then

_monitoring: Any = sys.monitoring  # type: ignore[attr-defined]  # the types are those of 3.11
_events = _monitoring.events
_getframe = sys._getframe  # tests replace what is in ``sys``


class UnusableError(Exception):
    """Why this core can't measure here."""


class LostToolError(RuntimeError):
    """Somebody has taken away what this core measures with."""


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
            _monitoring.use_tool_id(tool, TOOL)
        self.lines, self.resumes = found
        self.resume_events = _events.PY_START | _events.PY_RESUME if self._hide_resumed_lines() else 0

    @property
    def are_ours(self) -> bool:
        """Whether nobody has freed them meanwhile, and perhaps taken one."""
        return all(_monitoring.get_tool(tool) == TOOL for tool in (self.lines, self.resumes))

    def check(self) -> None:
        """Raise ``LostToolError`` if they aren't ours any more."""
        if not self.are_ours:
            raise LostToolError(
                "a test has freed the tool ids of covfleet's core on sys.monitoring, and lines are lost: "
                'set core = "ctrace" in [tool.covfleet]'
            )

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
        self._tools.check()
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
        """Begin, or go on after ``stop``. Raises ``LostToolError``."""
        self._tools.check()
        if not self._callbacks:
            made, end_runs = _callbacks(self._ended, self._tools, self.should_trace_cache, self._decide)
            self._callbacks = {event: uninterrupted(callback) for event, callback in made.items()}
            self._end_runs = uninterrupted(end_runs)
        for event, callback in self._callbacks.items():
            _monitoring.register_callback(self._tools.lines, event, callback)
        _monitoring.set_events(self._tools.lines, _events.PY_START)

    def stop(self) -> None:
        """Measure nothing until ``start``, as while another measurement is nested in this one.

        What is armed stays so, and code that begins meanwhile is armed, too: it may go on afterwards.
        """
        if self._tools.are_ours:
            for event in self._callbacks.keys() - {_events.PY_START}:
                _monitoring.register_callback(self._tools.lines, event, None)

    def end(self) -> None:
        """Measure nothing any more; only ``start`` begins again."""
        self.stop()
        if self._tools.are_ours:
            _monitoring.set_events(self._tools.lines, 0)
            _monitoring.register_callback(self._tools.lines, _events.PY_START, None)

    def post_fork(self) -> None:
        """Make room for the measurement of a child process."""
        self.end()

    def activity(self) -> bool:
        """Say that there may be something to save."""
        return True

    def reset_activity(self) -> None:
        """Do nothing: see ``activity``."""

    def get_stats(self) -> None:
        """Return no statistics."""


def check_usable() -> None:
    """Make sure that this core can measure in this process.

    Raises:
        UnusableError: it can't.
    """
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise UnusableError("without the global interpreter lock, events of threads are not one step")
    callbacks, end_runs = _callbacks([], tools(), {}, lambda _name: None)
    for function in (*callbacks.values(), end_runs):
        uninterrupted(function)


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
            started += (code, code, code, code)  # each of the two takes it twice
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
    """Return an endless iterator whose every step takes two of ``codes``, which are one code, and arms it.

    Code that began before keeps its other events: tests may have all events start again.
    """
    taken = iter(codes.pop, None)
    before = map(_monitoring.get_local_events, itertools.repeat(tool), taken)
    wanted = map(operator.or_, before, itertools.repeat(events))
    return map(_monitoring.set_local_events, itertools.repeat(tool), taken, wanted)


def _loops_on_one_line(code: CodeType) -> Iterator[bool]:
    """Say of each jump backward, in order, whether it ends on the line where it begins."""
    instructions, argument = code.co_code, 0
    lines: list[int | None] = [None] * (len(instructions) // 2)
    for start, end, line in code.co_lines():
        lines[start // 2 : end // 2] = [line] * ((end - start) // 2)
    for at in range(0, len(instructions), 2):
        operation, argument = instructions[at], argument << 8 | instructions[at + 1]
        if operation == _EXTENDED_ARG:
            continue
        if operation == _JUMP_BACKWARD:
            following = at + 2
            while instructions[following : following + 1] == _CACHE:
                following += 2
            yield lines[at // 2] == lines[following // 2 - argument]
        argument = 0


def _line_at(code: CodeType, offset: int) -> int | None:
    return next((line for start, end, line in code.co_lines() if start <= offset < end), None)
