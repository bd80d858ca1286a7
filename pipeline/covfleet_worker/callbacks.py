"""The callbacks of ``sys.monitoring`` for the core in ``monitor.py``, and the tool ids for them."""

from __future__ import annotations

import itertools
import opcode
import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any, cast

TOOL = "covfleet"
"""Our tool name in ``sys.monitoring``."""

# 3 is used by Hypothesis, 2 and 0 by profilers and debuggers, 1 by coverage.py
_PREFERRED_TOOLS = (4, 5, 3, 2, 0, 1)

_NOP, _RESUME = opcode.opmap["NOP"], opcode.opmap["RESUME"]

_monitoring: Any = sys.monitoring  # type: ignore[attr-defined]  # the types are those of 3.11
_events = _monitoring.events


class UnusableError(RuntimeError):
    """This core can't measure here; the message says why."""


class ToolIds:
    """The tool ids of ``sys.monitoring`` that we keep for the life of the process.

    Code stays armed when measuring stops, and a tool that got our id later would get our events.
    """

    def __init__(self) -> None:
        free = (tool for tool in _PREFERRED_TOOLS if _monitoring.get_tool(tool) is None)
        found = list(itertools.islice(free, 2))
        if len(found) < 2:
            raise UnusableError(
                "other tools use the tool ids of sys.monitoring; "
                'if tests do that, set core = "ctrace" in [tool.covfleet]'
            )
        for tool in found:
            _monitoring.use_tool_id(tool, TOOL)
        self.lines, self.resumes = found
        self.resume_events = _events.PY_START | _events.PY_RESUME if self._hide_resumed_lines() else 0

    @property
    def are_ours(self) -> bool:
        """Whether the ids are still ours, and nobody has freed or taken them."""
        get_tool = _monitoring.get_tool
        return bool(get_tool(self.lines) == TOOL == get_tool(self.resumes))

    def _hide_resumed_lines(self) -> bool:
        """Return whether a line on which a function starts or resumes gets no event, as in 3.13.

        It does get one if the instruction before it, ``RESUME``, has events, too: cpython issue 155992. Those
        use a separate id, as our own events switch themselves off.
        """
        seen: list[int] = []
        function: Callable[[], None] = lambda: None  # noqa: E731 - it must be on one line
        _monitoring.register_callback(self.lines, _events.LINE, lambda _code, line: seen.append(line))
        _monitoring.set_local_events(self.lines, function.__code__, _events.LINE)
        function()
        _monitoring.set_local_events(self.lines, function.__code__, 0)
        _monitoring.register_callback(self.lines, _events.LINE, None)
        return not seen


_ids: ToolIds | None = None


def tool_ids() -> ToolIds:
    """Return our tool ids, new ones if somebody freed them. Raises ``UnusableError`` if none are left."""
    global _ids  # noqa: PLW0603 - a process has only one ``sys.monitoring``, too
    if _ids is None or not _ids.are_ours:
        _ids = ToolIds()
    return _ids


def uninterrupted(function: FunctionType) -> FunctionType:
    """Return a copy of a function that makes no calls, during which nothing else can run.

    At ``RESUME``, where a function starts, Python handles signals, collects garbage and switches threads.
    Without it a callback is a single step, as if written in C. That matters for two reasons: code that a
    signal handler or a finalizer runs within a callback gets no events and would be missed; and another
    thread could switch the context between recording a line and switching its event off.

    Raises:
        UnusableError: functions start differently in this Python.
    """
    code = function.__code__
    instructions = bytearray(code.co_code)
    resumes = [at for at in range(0, len(instructions), 2) if instructions[at] == _RESUME]
    if len(resumes) != 1:
        raise UnusableError("functions in this Python don't start as expected")
    instructions[resumes[0]] = _NOP
    bare = code.replace(co_code=bytes(instructions))
    return FunctionType(bare, function.__globals__, function.__name__, None, function.__closure__)


def callbacks(
    ended: list[Any], ids: ToolIds, dispositions: Mapping[str, Any], decide: Callable[[str], None]
) -> tuple[dict[int, FunctionType], FunctionType]:
    """Return the callback of each event, and a function that ends the runs of lines that they record.

    After a call Python may run other code. So the callbacks make no calls, except ``decide`` once per file: a
    list grows by ``+=``, and an iterator arms code, with a call from C in each step.
    """
    on_line, on_jump, end_runs = _noting(ended)
    by_event = {
        _events.PY_START: _starting(ids, dispositions, decide),
        _events.LINE: on_line,
        _events.JUMP: on_jump,
    }
    return cast("dict[int, FunctionType]", by_event), cast("FunctionType", end_runs)


def _starting(
    ids: ToolIds, dispositions: Mapping[str, Any], decide: Callable[[str], None]
) -> Callable[[CodeType, int], Any]:
    """Return a callback that arms code when it runs for the first time."""
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
            started += (code, code, code, code)  # each of the two iterators takes it twice
            for _ in arming:
                break
            started *= 0
        return off

    return on_start


def _noting(ended: list[Any]) -> tuple[Callable[..., Any], ...]:
    """Return callbacks that record lines and jumps and switch their events off, and one that ends the runs.

    Consecutive lines of the same code are a run; the target of a jump is recorded as ``~offset``.
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
    """Return an endless iterator whose every step takes two of ``codes``, the same code, and arms it.

    Code that started before keeps its other events: tests may restart all events.
    """
    taken = iter(codes.pop, None)
    before = map(_monitoring.get_local_events, itertools.repeat(tool), taken)
    wanted = map(operator.or_, before, itertools.repeat(events))
    return map(_monitoring.set_local_events, itertools.repeat(tool), taken, wanted)
