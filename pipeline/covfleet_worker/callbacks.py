"""What ``sys.monitoring`` calls for the core of ``monitor.py``, and the tool ids under which it does."""

from __future__ import annotations

import itertools
import opcode
import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any, cast

TOOL = "covfleet"
"""Our name as a tool of ``sys.monitoring``."""

# 3 is Hypothesis's, 2 and 0 are profilers' and debuggers', 1 coverage.py's
_PREFERRED_TOOLS = (4, 5, 3, 2, 0, 1)

_NOP, _RESUME = opcode.opmap["NOP"], opcode.opmap["RESUME"]

_monitoring: Any = sys.monitoring  # type: ignore[attr-defined]  # the types are those of 3.11
_events = _monitoring.events


class UnusableError(RuntimeError):
    """Why this core can't measure here."""


class ToolIds:
    """The tool ids of ``sys.monitoring`` that are ours for the life of the process.

    Code stays armed when measuring stops, and a tool that got our id later would get our events.
    """

    def __init__(self) -> None:
        free = (tool for tool in _PREFERRED_TOOLS if _monitoring.get_tool(tool) is None)
        found = list(itertools.islice(free, 2))
        if len(found) < 2:
            raise UnusableError(
                "other tools have taken the tool ids of sys.monitoring; "
                'if tests do that, set core = "ctrace" in [tool.covfleet]'
            )
        for tool in found:
            _monitoring.use_tool_id(tool, TOOL)
        self.lines, self.resumes = found
        self.resume_events = _events.PY_START | _events.PY_RESUME if self._hide_resumed_lines() else 0

    @property
    def are_ours(self) -> bool:
        """Whether nobody has freed them meanwhile, and perhaps taken one."""
        get_tool = _monitoring.get_tool
        return bool(get_tool(self.lines) == TOOL == get_tool(self.resumes))

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


_ids: ToolIds | None = None


def tool_ids() -> ToolIds:
    """Return our tool ids, new ones if somebody has freed them. Raises ``UnusableError`` if none are left."""
    global _ids  # noqa: PLW0603 - there is one ``sys.monitoring`` in a process, too
    if _ids is None or not _ids.are_ours:
        _ids = ToolIds()
    return _ids


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


def callbacks(
    ended: list[Any], ids: ToolIds, dispositions: Mapping[str, Any], decide: Callable[[str], None]
) -> tuple[dict[int, FunctionType], FunctionType]:
    """Return what each event calls, and what ends the runs of lines that they note.

    After a call Python looks for other things to do. So they call nothing, except ``decide``, once for each
    file: a list grows by ``+=``, and code is armed by an iterator, a step of which is a call made in C.
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
