"""What two coverage results disagree on, and whether the tests themselves explain it.

A result is a set of facts: this file was measured, this line ran, this arc was taken, this line ran in this
context. Two serial runs of one suite already differ in some of them, so a fact in which a sharded run differs
from a serial one is judged:

* **unstable**: two serial runs differ in it, too;
* **order-dependent**: it depends on which tests ran before, as in a cache that the first test fills, or on
  when garbage is collected. Shown by the stock tools running the same test files serially in other company:
  in the order of the plan; in the reverse of it, with garbage collected after each file; and a file alone;
* **drifting** (contexts only): the stock runs don't agree either on the tests that the line is attributed to,
  as with what the garbage collector calls, which comes in the middle of any test, or of none;
* **unexplained**: none of these. That would be an error of ours.

Compared are the Python files of the project. Code that bears another name, such as a compiled template or a
module in a zip file, is what neither coverage.py nor covfleet can report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coverage import CoverageData
from covfleet.model import file_of_test

Fact = tuple[str, int, int | str]
"""("file", 0, 0), ("line", number, 0), ("arc", from, to) or ("pair", line, context)."""


class Dataset:
    """The facts of a combined data file, by path relative to the project."""

    def __init__(self, data_file: Path, root: Path, *, contexts: bool) -> None:
        self._data = CoverageData(str(data_file))
        self._data.read()
        self._contexts = contexts
        self._last: tuple[str, set[Fact]] = "", set()
        prefix = f"{root}/"
        inside = {
            measured.removeprefix(prefix): measured
            for measured in self._data.measured_files()
            if measured.startswith(prefix) or not measured.startswith("/")
        }
        self._measured = {
            path: measured
            for path, measured in inside.items()
            if path.endswith(".py") and (root / path).is_file()
        }
        self.files = frozenset(self._measured)
        self.left_out = frozenset(inside.keys() - self.files)

    def facts(self, file: str) -> set[Fact]:
        """Return all facts on a file; none if it wasn't measured. The last answer is kept."""
        if self._last[0] != file:
            self._last = file, self._read(file)
        return self._last[1]

    def _read(self, file: str) -> set[Fact]:
        if file not in self._measured:
            return set()
        measured = self._measured[file]
        facts: set[Fact] = {("file", 0, 0)}
        facts.update(("line", line, 0) for line in self._data.lines(measured) or ())
        facts.update(("arc", start, end) for start, end in self._data.arcs(measured) or ())
        if self._contexts:
            facts.update(("pair", line, context) for line, context in self._pairs(measured))
        return facts

    def _pairs(self, measured: str) -> Iterator[tuple[int, str]]:
        for line, contexts in self._data.contexts_by_lineno(measured).items():
            yield from ((line, context) for context in contexts)


@dataclass(frozen=True, slots=True)
class OtherCompany:
    """Serial runs by the stock tools in which tests have other company, made when they are first asked for.

    ``reordered`` gives runs of all test files in other orders, ``alone`` that of a test file on its own.
    """

    test_files: tuple[str, ...]
    reordered: Callable[[], Sequence[Dataset]]
    alone: Callable[[str], Dataset]

    def disagrees(self, file: str, fact: Fact, *, in_serial: bool) -> bool:
        """Say whether a fact on a source file is otherwise here than in the whole run in its usual order."""
        if any(in_serial != (fact in dataset.facts(file)) for dataset in self.reordered()):
            return True
        kind, line, detail = fact
        if kind == "pair" and detail:
            test_file = file_of_test(str(detail))
            return test_file in self.test_files and in_serial != (fact in self.alone(test_file).facts(file))
        alone = (self.alone(test_file).facts(file) for test_file in self.test_files)
        if kind == "pair" and in_serial:  # who runs it alone runs it within a test
            return any(("line", line, 0) in facts and fact not in facts for facts in alone)
        return in_serial != any(fact in facts for facts in alone)

    def attributes_otherwise(self, file: str, line: int, serial: set[Fact]) -> bool:
        """Say whether the line belongs to other tests here than in the whole run in its usual order."""
        known = _contexts(line, serial)
        return any(_contexts(line, dataset.facts(file)) != known for dataset in self.reordered())


def _contexts(line: int, facts: set[Fact]) -> set[Fact]:
    return {fact for fact in facts if fact[0] == "pair" and fact[1] == line}


@dataclass(slots=True)
class Comparison:
    """A sharded run against serial ones. The lists hold facts, with their files, in which they differ."""

    compared: Counter[str] = field(default_factory=Counter)  # facts by kind
    unstable: list[tuple[str, Fact]] = field(default_factory=list)  # between the serial runs
    order_dependent: list[tuple[str, Fact]] = field(default_factory=list)
    drifting: list[tuple[str, Fact]] = field(default_factory=list)
    unexplained: list[tuple[str, Fact]] = field(default_factory=list)


def compare(sharded: Dataset, serial: Sequence[Dataset], company: OtherCompany) -> Comparison:
    """Compare a sharded run with at least two serial ones, fact by fact."""
    result = Comparison()
    for file in sorted(sharded.files.union(*(dataset.files for dataset in serial))):
        facts = sharded.facts(file)
        runs = [dataset.facts(file) for dataset in serial]
        ever, always = set[Fact]().union(*runs), set[Fact].intersection(*runs)
        result.compared.update(kind for kind, _, _ in facts | ever)
        result.unstable += [(file, fact) for fact in sorted(ever - always, key=str)]
        if differing := sorted((always - facts) | (facts - ever), key=str):
            _judge(result, file, differing, always, company)
    return result


def _judge(
    result: Comparison, file: str, differing: Sequence[Fact], serial: set[Fact], company: OtherCompany
) -> None:
    for fact in differing:
        kind, line, _ = fact
        if company.disagrees(file, fact, in_serial=fact in serial):
            result.order_dependent.append((file, fact))
        elif kind == "pair" and company.attributes_otherwise(file, line, serial):
            result.drifting.append((file, fact))
        else:
            result.unexplained.append((file, fact))


def named(file: str, fact: Fact) -> str:
    """Return a fact as a reader would look it up."""
    kind, line, detail = fact
    if kind == "file":
        return file
    if kind == "arc":
        return f"{file}:{line}->{detail}"
    return f"{file}:{line}" if kind == "line" else f"{file}:{line} ({detail or 'outside of tests'})"
