"""Whether every file that the project's settings select is in the figure, and is the one that was planned.

Pure functions over what workers observed. coverage.py keeps quiet about all of this: a copy of the project
that ran instead of it, a file that is gone when the report is made, a ``source`` of which nothing ran.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

from covfleet.combine.contents import CheckedData
from covfleet.combine.paths import Resolution
from covfleet.model import BatchResult, Plan, Problem
from covfleet.model.scope import SeenFile, SourceEntry
from covfleet.text import counted, listed

_EMPTY = hashlib.sha256(b"").hexdigest()
_STATES = ("there", "environment", "written", "gone")  # of which the first that any worker tells counts


@dataclass(frozen=True)
class ScopeEvidence:
    """What is known of the files of a build: planned, measured, and seen by its workers."""

    plan: Plan
    results: Sequence[BatchResult]
    checked: Sequence[CheckedData]
    resolution: Resolution

    @cached_property
    def seen(self) -> Mapping[str, tuple[SeenFile, ...]]:
        """What workers saw of each measured path, what counts most first."""
        found = defaultdict(set)
        for result in self.results:
            for file in result.observed.files:
                found[file.path].add(file)
        return {path: tuple(sorted(files, key=_rank)) for path, files in found.items()}

    @cached_property
    def planned(self) -> Mapping[str, str]:
        """The SHA-256 of each of the project's files."""
        return {source.path: source.sha256 for source in self.plan.sources}

    @cached_property
    def executed(self) -> frozenset[str]:
        """The project's files of which anything was executed."""
        own = self.resolution.own
        return frozenset(own[path] for data in self.checked for path in data.executed if path in own)

    @cached_property
    def copies(self) -> Mapping[str, str]:
        """Executed paths outside that are a file of the project, with that file's path in the project."""
        by_hash = defaultdict(list)
        for path, sha256 in self.planned.items():
            by_hash[sha256].append(path)
        found = {}
        executed = frozenset().union(*(data.executed for data in self.checked))
        for path in self.resolution.outside:
            file = self._fact(path)
            if path in executed and file and file.state in ("there", "environment"):
                twin = _twin(path, by_hash.get(file.sha256, ()), least=2 if file.sha256 == _EMPTY else 1)
                found.update({path: twin} if twin else {})
        return found

    def _fact(self, path: str) -> SeenFile | None:
        return self.seen[path][0] if path in self.seen else None

    def left_out(self, *states: str) -> tuple[str, ...]:
        """Return the selected paths in one of these states that are not in the figure, and no copies.

        With ``source`` or ``include``, whatever was measured is selected; else what lies in the project.
        """
        limited = self.plan.scope.limited
        return tuple(
            path
            for path in self.resolution.outside
            if path not in self.copies and (limited or not _is_absolute(path))
            if (file := self._fact(path)) and file.state in states
        )


def scope_problems(evidence: ScopeEvidence) -> Iterator[Problem]:
    """Yield what keeps the figure from being that of the planned files, and of all of them."""
    yield from _changed(evidence)
    if evidence.copies:
        yield _copies_problem(evidence.copies)
    yield from _strangers(evidence)
    yield from _left_out(evidence)
    if not evidence.copies and not any(result.observed.strangers for result in evidence.results):
        yield from _nothing_ran(evidence)


def scope_notes(evidence: ScopeEvidence) -> Iterator[str]:
    """Yield what a reader should know of what the settings select before looking at the figure."""
    idle = [entry for entry in _entries(evidence) if not _ran(entry.folder, evidence.executed)]
    if idle:
        yield f"nothing of {listed([entry.name for entry in idle])} was executed, which `source` selects"
    if paths := evidence.left_out("gone"):
        yield f"executed, but gone after the tests, so not in the figure: {listed(paths)}"
    if paths := evidence.left_out("environment"):
        yield (
            f"of a virtual environment in the project, so not in the figure: {listed(paths)}; "
            "`omit` in the project's coverage settings would keep coverage.py from measuring them"
        )
    rewritten = [
        own
        for path, own in sorted(evidence.resolution.own.items())
        for file in evidence.seen.get(path, ())[:1]
        if file.state == "written" and file.sha256 != evidence.planned.get(own)
    ]
    if rewritten:
        yield f"rewritten while the tests ran, so their lines may be others: {listed(rewritten)}"


def mapping_rule(outside: str, own: str) -> tuple[str, str]:
    """Return the pattern and the folder in the project that map ``outside`` to ``own``, for ``[paths]``."""
    there, here = outside.split("/"), own.split("/")
    while len(there) > 2 and here and there[-1] == here[-1]:
        there, here = there[:-1], here[:-1]
    return "/".join(there), "/".join(here) or "."


def _rank(file: SeenFile) -> tuple[int, str]:
    return _STATES.index(file.state), file.sha256


def _is_absolute(path: str) -> bool:
    return path.startswith("/")


def _twin(path: str, candidates: Iterable[str], *, least: int) -> str:
    """Return the candidate with the longest common end, if that is of ``least`` parts; else nothing."""

    def common(candidate: str) -> int:
        ends = zip(reversed(path.split("/")), reversed(candidate.split("/")), strict=False)
        return len(list(takewhile(lambda parts: parts[0] == parts[1], ends)))

    best = max(sorted(candidates), key=common, default="")
    return best if best and common(best) >= least else ""


def _changed(evidence: ScopeEvidence) -> Iterator[Problem]:
    for path, own in sorted(evidence.resolution.own.items()):
        planned = evidence.planned.get(own)
        others = [file for file in evidence.seen.get(path, ()) if file.sha256 != planned]
        if planned and any(file.state in ("there", "environment") for file in others):
            where = "" if path == own else f" ({path})"
            yield Problem(
                "conflict", own, f"ran with another content than was planned{where}: is a copy of it stale?"
            )


def _copies_problem(copies: Mapping[str, str]) -> Problem:
    rules: dict[str, set[str]] = defaultdict(set)
    for path, own in copies.items():
        pattern, folder = mapping_rule(path, own)
        rules[folder].add(pattern)
    lines = ["[tool.coverage.paths]"]
    lines += [
        f"{_key(folder, number)} = {json.dumps([folder, *sorted(patterns)])}"
        for number, (folder, patterns) in enumerate(sorted(rules.items()))
    ]
    first, more = min(copies), len(copies) - 1
    detail = f"a copy of {copies[first]} that was measured in its place, and isn't in the figure"
    if more:
        detail += f"; there {'are' if more > 1 else 'is'} {counted(more, 'more such file')}"
    return Problem("conflict", first, f"{detail}. This maps them:\n" + "\n".join(lines))


def _key(folder: str, number: int) -> str:
    name = "".join(char if char.isascii() and char.isalnum() else "_" for char in folder).strip("_")
    return f"{name or 'project'}_{number}" if number else name or "project"


def _strangers(evidence: ScopeEvidence) -> Iterator[Problem]:
    found = {stranger for result in evidence.results for stranger in result.observed.strangers}
    for stranger in sorted(found, key=lambda each: (each.unit, each.file)):
        if not _ran(stranger.unit, evidence.executed):
            yield Problem(
                "conflict",
                stranger.unit,
                f"nothing of it was executed: the tests imported {stranger.name} from {stranger.file}; "
                "install the project again (pip install -e .), or see the tests' sys.path",
            )


def _left_out(evidence: ScopeEvidence) -> Iterator[Problem]:
    for path in evidence.left_out("there"):
        where = "lies outside of the project" if _is_absolute(path) else "was not there when it was planned"
        remedy = (
            "name a project that holds it (--project), map it with [paths]"
            if _is_absolute(path)
            else "make it before planning"
        )
        yield Problem("missing", path, f"is measured, but {where}: {remedy}, or leave it out with `omit`")
    for path in evidence.left_out("written"):
        if not _is_absolute(path):
            detail = "was written while the tests ran, and is measured: make it before planning, or leave it"
            yield Problem("missing", path, f"{detail} out with `omit`")


def _nothing_ran(evidence: ScopeEvidence) -> Iterator[Problem]:
    passed = sum(each.outcome == "passed" for result in evidence.results for each in result.outcomes)
    entries = _entries(evidence)
    if passed and entries and not any(_ran(entry.folder, evidence.executed) for entry in entries):
        yield Problem(
            "conflict",
            listed([entry.name for entry in entries]),
            f"nothing of it was executed, though `source` selects it and {counted(passed, 'test')} passed: "
            "do the tests run another copy?",
        )


def _entries(evidence: ScopeEvidence) -> tuple[SourceEntry, ...]:
    """Return the entries of ``source`` in the project, less those of which it has no file."""
    return tuple(
        entry
        for entry in evidence.plan.scope.entries
        if entry.folder and not _is_absolute(entry.folder) and _ran(entry.folder, evidence.planned)
    )


def _ran(folder: str, files: Collection[str]) -> bool:
    """Say whether any of ``files`` is this one, or lies in this folder."""
    return any(folder in (".", path) or path.startswith(f"{folder}/") for path in files)
