"""The result of parsing a source, which depends only on its text and the exclusion rules, and its entry.

These are statements, exclusions, arcs and their meanings, regions, tokens: everything that coverage.py finds
by parsing. With a cached result for the same text, rules and interpreter, only the text needs to be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from coverage.parser import PythonParser
from coverage.plugin import CodeRegion
from pydantic import TypeAdapter, ValidationError

Arc: TypeAlias = tuple[int, int]
Tokens: TypeAlias = list[list[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class ArcFacts:
    """The arcs of a source, for branches."""

    arcs: list[Arc]
    meanings: list[tuple[Arc, list[tuple[str | None, str | None]]]]  # why it wasn't taken, what it does
    jumps: list[tuple[Arc, Any]]  # out of with statements; their form differs between versions
    no_branch: list[int]


@dataclass(frozen=True, slots=True)
class Facts:
    """A parsed source."""

    statements: list[int]
    excluded: list[int]
    multiline: list[tuple[int, int]]  # a line, and the first one of its statement
    regions: list[tuple[str, str, int, list[tuple[int, int]]]]  # kind, name, start, ranges of lines
    arcs: ArcFacts | None  # None: not requested
    tokens: Tokens | None  # by line, class and text


_FACTS = TypeAdapter(Facts)


def from_entry(content: bytes) -> Facts | None:
    """Return the facts in a cache entry, or ``None`` if it is invalid."""
    try:
        return _FACTS.validate_json(content)
    except ValidationError:
        return None


def to_entry(facts: Facts) -> bytes:
    """Return the facts as a cache entry. Raises ``ValueError`` if a text can't be encoded."""
    return _FACTS.dump_json(facts)


def facts_of(
    parser: PythonParser, regions: Iterable[CodeRegion], tokens: Tokens | None, no_branch: set[int] | None
) -> Facts:
    """Return the results of a parser, together with regions, tokens and lines without branches."""
    state = vars(parser)
    arcs = None
    if state["_all_arcs"] is not None and no_branch is not None:
        arcs = ArcFacts(
            arcs=sorted(state["_all_arcs"]),
            meanings=list(state["_missing_arc_fragments"].items()),
            jumps=list(state["_with_jump_fixers"].items()),
            no_branch=sorted(no_branch),
        )
    return Facts(
        statements=sorted(parser.statements),
        excluded=sorted(parser.excluded),
        multiline=list(state[_multiline(state)].items()),
        regions=[(region.kind, region.name, region.start, _ranges(region.lines)) for region in regions],
        arcs=arcs,
        tokens=tokens,
    )


def parser_with(facts: Facts, text: str, filename: str, exclude: str) -> PythonParser:
    """Return a parser of a text with the facts already in it."""
    parser = PythonParser(text=text, filename=filename, exclude=exclude)
    state = vars(parser)
    state[_multiline(state)] = dict(facts.multiline)
    parser.statements, parser.excluded = set(facts.statements), set(facts.excluded)
    if facts.arcs:
        state["_all_arcs"] = set(facts.arcs.arcs)
        state["_missing_arc_fragments"] = dict(facts.arcs.meanings)
        state["_with_jump_fixers"] = {arc: _tupled(becomes) for arc, becomes in facts.arcs.jumps}
    return parser


def regions_of(facts: Facts) -> list[CodeRegion]:
    """Return functions and classes in coverage.py's form."""
    return [
        CodeRegion(kind, name, start, {line for first, end in ranges for line in range(first, end)})
        for kind, name, start, ranges in facts.regions
    ]


def _multiline(state: dict[str, Any]) -> str:
    return "multiline_map" if "multiline_map" in state else "_multiline"  # before 7.12


def _ranges(lines: set[int]) -> list[tuple[int, int]]:
    """Return numbers as ranges: pairs of the first number and the one after the last."""
    ranges: list[tuple[int, int]] = []
    for line in sorted(lines):
        if ranges and ranges[-1][1] == line:
            ranges[-1] = (ranges[-1][0], line + 1)
        else:
            ranges.append((line, line + 1))
    return ranges


def _tupled(value: Any) -> Any:
    return tuple(_tupled(part) for part in value) if isinstance(value, list) else value
