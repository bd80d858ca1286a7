"""Code that has run under the core in ``monitor.py``: its file, its events, its lines."""

from __future__ import annotations

import opcode
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import CodeType
from typing import Any

MOST_WAYS = 64
"""For how many different runs of the same code to cache the bits."""

_EXTENDED_ARG, _JUMP_BACKWARD = opcode.opmap["EXTENDED_ARG"], opcode.opmap["JUMP_BACKWARD"]
_CACHE = b"\0"  # pads instructions; code may end with a jump, without padding after it

_monitoring: Any = sys.monitoring  # type: ignore[attr-defined]  # the types are those of 3.11
_events = _monitoring.events


class RanCode:
    """Code that has run: its file, its events, and the bits of its lines."""

    __slots__ = ("_bits", "code", "events", "source")

    def __init__(self, code: CodeType, source: str, gone: Callable[[Any], object]) -> None:
        loops = _JUMP_BACKWARD in code.co_code[::2] and any(_loops_on_one_line(code))
        self.code = weakref.ref(code, gone)
        self.source = source
        self.events = int(_events.LINE | _events.JUMP if loops else _events.LINE)
        self._bits: dict[tuple[int, ...], int] = {}

    def bits(self, way: tuple[int, ...]) -> int:
        """Return a number with a bit for each recorded line; ``way`` lists them in the order of their run.

        In most contexts code runs in one of a few ways, and looking up the bits is cheaper than computing
        them.
        """
        bits = self._bits.get(way)
        if bits is None:
            if len(self._bits) >= MOST_WAYS:
                self._bits.clear()
            bits = self._bits[way] = self._added_up(way)
        return bits

    def _added_up(self, noted: Iterable[int]) -> int:
        code, bits = self.code(), 0
        assert code is not None
        for number in noted:
            line = number if number >= 0 else _line_at(code, ~number)  # the recorded target of a jump
            bits |= 0 if line is None else 1 << line
        return bits


def _loops_on_one_line(code: CodeType) -> Iterator[bool]:
    """Yield for each backward jump, in order, whether it ends on the line on which it starts."""
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
