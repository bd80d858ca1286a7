"""Which few of the project's own sources are compared: small ones that together have as much as possible."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from coverage import Coverage, CoverageData

MOST_SOURCES = 6
MOST_BYTES = 24 << 10  # of all chosen sources: stock coverage.py takes 10 ms for each KB
_MOST_CANDIDATES = 64
_MOST_CONTEXTS = 3  # of all, and of those that [report] contexts asks for

SYNTAX = {
    name: re.compile(pattern, re.MULTILINE)
    for name, pattern in {
        "class": rb"^\s*class\s",
        "function": rb"^\s*def\s",
        "nested function": rb"^(?:\t| {8,})def\s",
        "async": rb"^\s*async\s",
        "decorator": rb"^\s*@\w",
        "lambda": rb"\blambda\b",
        "comprehension": rb"[\[({].*\bfor\b.*\bin\b",
        "if": rb"^\s*if\s",
        "else": rb"^\s*else\s*:",
        "for": rb"^\s*for\s",
        "while": rb"^\s*while\s",
        "try": rb"^\s*try\s*:",
        "finally": rb"^\s*finally\s*:",
        "with": rb"^\s*with\s",
        "match": rb"^\s*match\s.*:\s*$",
        "yield": rb"\byield\b",
        "assert": rb"^\s*assert\s",
        "text in many lines": rb"('''|\"\"\")[^'\"]*\n",
        "expression in many lines": rb"[(\[{,]\s*$",
        "continued line": rb"\\$",
        "several statements in a line": rb";\s*\w",
        "f-string": rb"\bf['\"]",
        "HTML": rb"[<&]\w+",
        "not ASCII": rb"[\x80-\xff]",
        "encoding": rb"\A(?:.*\n)?#.*coding[:=]",
        "tab": rb"\t",
        "form feed": rb"\x0c",
        "CRLF": rb"\r\n",
        "no line end": rb"[^\n]\Z",
        "empty": rb"\A\s*\Z",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A source that may be compared, and what it has to show."""

    name: str
    size_bytes: int
    features: frozenset[str]


def choose(candidates: Iterable[Candidate]) -> tuple[str, ...]:
    """Return the names of a few sources: each adds what those before it lack, most for its size first."""
    left = {one.name: one for one in candidates}
    chosen: list[str] = []
    seen: set[str] = set()
    room = MOST_BYTES
    while len(chosen) < MOST_SOURCES:
        fitting = [one for one in left.values() if one.size_bytes <= room and one.features - seen]
        if not fitting:
            break
        best = max(fitting, key=lambda one: (len(one.features - seen) / (one.size_bytes + 1024), one.name))
        seen |= best.features
        room -= best.size_bytes
        chosen.append(best.name)
        del left[best.name]
    return tuple(sorted(chosen))


def candidates(cov: Coverage, sources: Sequence[tuple[str, int]]) -> Iterator[Candidate]:
    """Yield what there is to choose from, given names and sizes in bytes of all sources of the report.

    Of many, as many small ones as large ones are looked at. The working directory must be the project's.
    """
    data = cov.get_data()
    excluded = _rules(cov, "exclude", "excluded"), _rules(cov, "partial", "branch that doesn't count")
    fitting = sorted((size, name) for name, size in sources if size <= MOST_BYTES)
    step = max(1, -(-len(fitting) // _MOST_CANDIDATES))
    read_by_plugins = [(size, name) for size, name in fitting if data.file_tracer(name)]
    for size, name in dict.fromkeys((*read_by_plugins[:_MOST_CANDIDATES], *fitting[::step])):
        with contextlib.suppress(OSError):  # coverage.py says what that means
            features = {*_features(Path(name).read_bytes(), excluded), *_measured(data, name)}
            yield Candidate(name, size, frozenset(features))


def _rules(cov: Coverage, which: str, feature: str) -> tuple[str, re.Pattern[str]]:
    return feature, re.compile("|".join(f"(?:{rule})" for rule in cov.get_exclude_list(which)) or r"(?!)")


def _features(text: bytes, rules: Iterable[tuple[str, re.Pattern[str]]]) -> Iterator[str]:
    yield from (name for name, pattern in SYNTAX.items() if pattern.search(text))
    decoded = text.decode("utf-8", "replace")
    yield from (name for name, pattern in rules if pattern.search(decoded))


def _measured(data: CoverageData, name: str) -> Iterator[str]:
    yield "executed" if data.lines(name) else "not executed"
    if plugin := data.file_tracer(name):
        yield f"read by {plugin}"


def write_part(cov: Coverage, names: Sequence[str], data_file: Path) -> None:
    """Write what the data says of a few sources, in a few of its contexts, into another data file."""
    data = cov.get_data()
    wanted = cov.get_option("report:contexts")
    chosen = {
        *_contexts(data, names, None),
        *(_contexts(data, names, [*wanted]) if isinstance(wanted, list) else ()),
    }
    with closing(CoverageData(str(data_file))) as part:
        for context in sorted(chosen):
            data.set_query_context(context)
            part.set_context(context)
            if data.has_arcs():
                part.add_arcs({name: data.arcs(name) or [] for name in names})
            else:
                part.add_lines({name: data.lines(name) or [] for name in names})
        for name in names:
            part.touch_file(name, data.file_tracer(name) or "")
    data.set_query_contexts(None)


def _contexts(data: CoverageData, names: Sequence[str], wanted: list[str] | None) -> Iterator[str]:
    """Yield a few contexts in which the sources ran, from all over their order, the empty one among them."""
    data.set_query_contexts(wanted)
    lines = (contexts for name in names for contexts in data.contexts_by_lineno(name).values())
    found = sorted({context for contexts in lines for context in contexts})
    step = max(1, -(-len(found) // _MOST_CONTEXTS))
    yield from found[::step]
    if not wanted:
        yield ""
