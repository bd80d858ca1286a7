"""Share between formats the work that coverage.py's reports repeat for each format.

Its reporters stay unchanged; under ``shared_work`` the things that they ask for are answered from memory:
tokens, regions, narrowed analyses, the rows of the data file. Nothing here decides what a report says.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import coverage.control
import coverage.html
import coverage.jsonreport
import coverage.lcovreport
import coverage.parser
import coverage.phystokens
import coverage.results
from coverage import Coverage, CoverageData
from coverage.misc import human_sorted
from coverage.parser import PythonParser
from coverage.phystokens import generate_tokens
from coverage.plugin import CodeRegion
from coverage.python import PythonFileReporter
from coverage.regions import RegionFinder
from coverage.results import Analysis
from coverage.templite import Templite

from covfleet.report.onepass.parsed_source import Facts, Tokens, facts_of, parser_with, regions_of

Lines = frozenset[int]
_REMEMBERED = 1_000  # sets of contexts


@contextlib.contextmanager
def shared_work(known: Mapping[str, Facts]) -> Iterator[None]:
    """Let the reporters of this process share their results for a source within the block.

    It replaces names in coverage.py's modules: never use it while another thread uses coverage.py.

    Args:
        known: facts of sources by file name, which may change meanwhile.
    """
    tokens = _LastTokens()
    own: list[tuple[ModuleType, str, object]] = [
        (coverage.control, "PythonFileReporter", partial(SharedSource, known=known)),
        (coverage.html, "human_sorted", _SortedContexts()),
        (coverage.parser, "generate_tokens", tokens),
        (coverage.phystokens, "generate_tokens", tokens),
        (coverage.results, "Analysis", SharedAnalysis),
    ]
    for module in (coverage.html, coverage.jsonreport, coverage.lcovreport):
        if hasattr(module, "AnalysisNarrower"):  # since 7.11; Analysis.narrow before
            own.append((module, "AnalysisNarrower", SharedNarrower))
    with contextlib.ExitStack() as stack:
        for module, name, meaning in own:
            stack.enter_context(replaced(module, name, meaning))
        yield


class _LastTokens:
    """``generate_tokens``, which remembers the last text: the HTML page needs the parser's once more."""

    def __init__(self) -> None:
        self._text: str | None = None
        self._tokens: list[Any] = []

    def __call__(self, text: str) -> Iterator[Any]:
        if text != self._text:
            self._text = None
            self._tokens = list(generate_tokens(text))
            self._text = text
        return iter(self._tokens)


class SharedSource(PythonFileReporter):
    """A Python source that is read and parsed once, or not at all if the facts are known."""

    def __init__(
        self, morf: Any, coverage: Coverage | None = None, known: Mapping[str, Facts] | None = None
    ) -> None:
        super().__init__(morf, coverage)
        self._facts = known.get(self.filename) if known else None
        self._regions: list[CodeRegion] | None = None
        self._tokens: Tokens | None = self._facts.tokens if self._facts else None
        self._no_branch: set[int] | None = None

    @property
    def parser(self) -> PythonParser:
        """The parsed source. Raises ``NoSource`` and ``NotPython`` like coverage.py's own."""
        if self._parser is None:
            assert self.coverage is not None
            exclude = self.coverage._exclude_regex("exclude")
            if self._facts:
                self._parser = parser_with(self._facts, self.source(), self.filename, exclude)
                self._regions = regions_of(self._facts)
                return self._parser
            parser = PythonParser(filename=self.filename, exclude=exclude)
            parser.parse_source()
            finder = RegionFinder()
            assert parser._ast_root is not None  # until the arcs are requested
            finder.handle_node(parser._ast_root)
            self._regions = finder.regions
            self._source = parser.text
            self._parser = parser
        return self._parser

    def code_regions(self) -> Iterable[CodeRegion]:
        """Return functions and classes."""
        return self._regions if self._regions is not None else super().code_regions()

    def no_branch_lines(self) -> set[int]:
        """Return the lines whose branches don't count."""
        if self._no_branch is None:
            known = self._facts and self._facts.arcs
            self._no_branch = set(known.no_branch) if known else super().no_branch_lines()
        return self._no_branch

    def source_token_lines(self) -> Tokens:
        """Return the tokens of each line."""
        if self._tokens is None:
            self._tokens = list(super().source_token_lines())
        return self._tokens

    def learned(self) -> Facts | None:
        """Return the facts, if they are more than those known before."""
        if self._parser is None or (self._facts and self._facts.tokens is self._tokens):
            return None
        return facts_of(self._parser, self.code_regions(), self._tokens, self._no_branch)


class SharedAnalysis(Analysis):
    """An analysis that sorts its missing arcs only once, although every format asks for them repeatedly."""

    def arcs_missing(self) -> list[tuple[int, int]]:
        """Return the arcs that weren't executed, sorted."""
        found: list[tuple[int, int]] | None = self.__dict__.get("_arcs_missing")
        if found is None:
            found = self.__dict__["_arcs_missing"] = super().arcs_missing()
        return found

    def narrow(self, lines: Iterable[int]) -> Analysis:
        """Return the part of the analysis for ``lines``, for coverage.py before 7.11."""
        parts = self.__dict__.setdefault("_narrowed", {})
        key = frozenset(lines)
        if key not in parts:
            parts[key] = super().narrow(key)  # type: ignore[misc]
        part: Analysis = parts[key]
        return part


class SharedNarrower:
    """coverage.py's ``AnalysisNarrower``, shared by all formats with the same regions of a source."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._shared: _Narrowed | None = None

    def add_regions(self, liness: Iterable[set[int]]) -> None:
        """Prepare regions for ``narrow``. The first ones decide with which formats the work is shared."""
        regions = [frozenset(lines) for lines in liness]
        if self._shared is None:
            by_regions = self._analysis.__dict__.setdefault("_narrowers", {})
            key = frozenset(regions)
            if key not in by_regions:
                by_regions[key] = _Narrowed(self._analysis)
            self._shared = by_regions[key]
        self._shared.add(regions)

    def narrow(self, lines: set[int]) -> Analysis:
        """Return the part of the analysis for ``lines``."""
        assert self._shared is not None
        return self._shared.part(frozenset(lines))


class _Narrowed:
    def __init__(self, analysis: Analysis) -> None:
        self._narrower = coverage.results.AnalysisNarrower(analysis)
        self._added: set[frozenset[Lines]] = set()
        self._parts: dict[Lines, Analysis] = {}

    def add(self, regions: list[Lines]) -> None:
        key = frozenset(regions)
        if key not in self._added:
            self._added.add(key)
            self._narrower.add_regions(regions)  # type: ignore[arg-type]

    def part(self, lines: Lines) -> Analysis:
        if lines not in self._parts:
            self._parts[lines] = self._narrower.narrow(lines)  # type: ignore[arg-type]
        return self._parts[lines]


class SharedRows:
    """Makes a data file compute each answer about a source only once. Call ``forget`` after each source.

    Args:
        data: the data file, whose methods are replaced.
        ordered: keep the order of a line's contexts. coverage.py's JSON report shows the order of a set, so
            it must be that very set; all other reports sort them.
    """

    def __init__(self, data: CoverageData, *, ordered: bool) -> None:
        self._data = data
        contexts = data.contexts_by_lineno
        if data.has_arcs() and not ordered:
            contexts = self._contexts_of_arcs
            with data._connect() as db, db.execute("select id, context from context") as rows:
                self._contexts = dict(rows)
        questions = {"lines": data.lines, "arcs": data.arcs, "contexts_by_lineno": contexts}
        self._forget = [_remember(data, name, ask) for name, ask in questions.items()]

    def forget(self) -> None:
        """Forget all answers; also necessary if the contexts of the query change."""
        for forget in self._forget:
            forget()

    def _contexts_of_arcs(self, filename: str) -> dict[int, list[str]]:
        """Do the same as ``contexts_by_lineno``, with a row per context instead of a row per arc."""
        data = self._data
        chosen = data._query_context_ids
        only = "" if chosen is None else f" and context_id in ({', '.join('?' * len(chosen))})"
        query = (
            "select context_id, group_concat(fromno), group_concat(tono) "  # noqa: S608 - question marks
            f"from arc where file_id = ?{only} group by context_id"
        )
        found: defaultdict[int, list[str]] = defaultdict(list)
        with data._connect() as db, db.execute(query, [data._file_id(filename), *(chosen or ())]) as rows:
            for context, starts, ends in rows:
                for line in set(json.loads(f"[{starts},{ends}]")):
                    found[line].append(self._contexts[context])
        return {line: contexts for line, contexts in found.items() if line > 0}


def _remember(data: CoverageData, name: str, ask: Callable[[str], object]) -> Callable[[], None]:
    answers: dict[str, object] = {}

    def answer(filename: str) -> object:
        if filename not in answers:
            answers[filename] = ask(filename)
        return answers[filename]

    setattr(data, name, answer)
    return answers.clear


class _SortedContexts:
    """``human_sorted``, which remembers its results: neighbouring lines mostly ran in the same tests."""

    def __init__(self) -> None:
        self._sorted: dict[frozenset[str], list[str]] = {}

    def __call__(self, strings: Iterable[str]) -> list[str]:
        wanted = list(strings)
        key = frozenset(wanted)
        if len(key) != len(wanted):
            return human_sorted(wanted)
        if key not in self._sorted:
            if len(self._sorted) > _REMEMBERED:
                self._sorted.clear()
            self._sorted[key] = human_sorted(wanted)
        return self._sorted[key]


class PlainTemplate(Templite):
    """coverage.py's template of a page that reads the fields of a line directly instead of by name."""

    def _expr_code(self, expr: str) -> str:
        if re.fullmatch(r"line\.\w+", expr):
            self._variable("line", self.all_vars)
            return f"c_{expr}"
        return super()._expr_code(expr)


def normal_html(html: str) -> bytes:
    """Return a page as coverage.py writes it: without blank lines and trailing whitespace."""
    page = "\n".join(filter(None, map(str.rstrip, html.split("\n")))).lstrip() + "\n"
    return page.encode("ascii", "xmlcharrefreplace")


@contextlib.contextmanager
def replaced(module: ModuleType, name: str, own: object) -> Iterator[None]:
    """Replace a name in a module within the block."""
    before = getattr(module, name)
    setattr(module, name, own)
    try:
        yield
    finally:
        setattr(module, name, before)
