"""A source's member of coverage.json, encoded once, with the contexts inserted last.

coverage.py repeats a source's contexts in each of its functions and classes, and encoding them each time
would take time that grows with their product. It shows the contexts of a line in the order of a set, which
differs from run to run, so the contexts always come from the data file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from coverage import Coverage, CoverageData
from coverage.jsonreport import JsonReporter
from coverage.plugin import FileReporter
from coverage.results import Analysis

_INDENTED_MARK = re.compile(r'^( *)(.*)"\\u0000(\w+)"', re.MULTILINE)
_MARK = re.compile(r'()()"\\u0000(\w+)"')  # no other string in the report contains a NUL
_ALL = "contexts"


class JsonText:
    """Writes members of one report."""

    def __init__(self, cov: Coverage) -> None:
        self._data: CoverageData = cov.get_data()
        self._indent = 4 if cov.config.json_pretty_print else None
        self._shows_contexts = cov.config.json_show_contexts
        self._has_arcs = self._data.has_arcs()
        self._reporter = JsonReporter(cov)
        makes = JsonReporter.make_region_data.__code__
        # Since 7.17.4 a region has only the contexts of its own lines.
        self._by_line = "contexts" in makes.co_varnames[: makes.co_argcount]

    def with_marks(self, source: FileReporter, analysis: Analysis) -> str:
        """Return the member, with marks where contexts belong."""
        aside: Any = _ContextsAside(self._has_arcs, self._marks(analysis.filename))
        text = json.dumps(self._reporter.report_one_file(aside, analysis, source), indent=self._indent)
        # It is a member of a member.
        return text.replace("\n", "\n" + 2 * self._indent * " ") if self._indent else text

    def order(self, filename: str) -> list[int]:
        """Return the order of lines with contexts, which also affects the text of ``with_marks``."""
        return list(self._contexts(filename)) if self._shows_contexts and self._by_line else []

    def parts(self, text: str, filename: str) -> tuple[str, ...]:
        """Return the member with its contexts as parts to join; repeated contexts are the same string."""
        if not self._shows_contexts:
            return (text,)
        contexts = self._contexts(filename)
        encoded: dict[tuple[str, str], str] = {}
        parts, end = [], 0
        for found in (_INDENTED_MARK if self._indent else _MARK).finditer(text):
            margin, mark = place = found[1], found[3]
            if place not in encoded:
                meant = contexts if mark == _ALL else contexts[int(mark)]
                encoded[place] = json.dumps(meant, indent=self._indent).replace("\n", "\n" + margin)
            parts += [text[end : found.end(2)], encoded[place]]
            end = found.end()
        return (*parts, text[end:])

    def _contexts(self, filename: str) -> dict[int, list[str]]:
        return self._data.contexts_by_lineno(filename)

    def _marks(self, filename: str) -> object:
        if not (self._shows_contexts and self._by_line):
            return f"\0{_ALL}"
        return {line: f"\0{line}" for line in self._contexts(filename)}


@dataclass(frozen=True, slots=True)
class _ContextsAside:
    """The part of a data file that the JSON report uses, with marks for contexts."""

    arcs: bool
    marks: object

    def has_arcs(self) -> bool:
        return self.arcs

    def contexts_by_lineno(self, _filename: str) -> object:
        return self.marks
