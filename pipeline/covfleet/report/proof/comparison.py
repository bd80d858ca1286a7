"""Both ways to make the reports, side by side: what coverage.py's calls write, and what the one pass does."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from covfleet.model import Totals
from covfleet.report.cache.contents import ReportCache
from covfleet.report.cache.file import open_bundle, unpack_entry, write_bundle
from covfleet.report.own.figures import FileFigures, figures_of, read_figures
from covfleet.report.stock import Configured, messages, write_each

_STAMPS = (
    (".html", re.compile(rb"(?<=created at )\d{4}-\d\d-\d\d \d\d:\d\d [+-]\d{4}$", re.MULTILINE), 0),
    (".xml", re.compile(rb'(?<= timestamp=")\d{13}(?=")'), 1),
    (".json", re.compile(rb'(?<="timestamp": ")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?(?=")'), 1),
)
"""Where a report says when it was made, by the end of its name, and how often at most (0: any number).

Only a well-formed stamp is passed over, so one of another form counts as a difference.
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """What both ways report."""

    configured: Configured
    out: Path  # the folder that ``configured`` lets reports be written into; absent
    scratch: Path  # an existing folder


@dataclass(frozen=True, slots=True)
class Reports:
    """What one way has made."""

    files: dict[str, bytes]  # by path, but for what says when they were made
    totals: Totals
    figures: tuple[FileFigures, ...]
    warnings: frozenset[str]


def stock(scene: Scene) -> Reports:
    """Return what coverage.py's public calls write."""
    with _written(scene) as caught:
        write_each(scene.configured, scene.out)
        totals, figures = read_figures(scene.out / "coverage.json")
        return Reports(_contents(scene.out), totals, figures, frozenset(messages(caught)))


def one_pass(engine: ModuleType, scene: Scene, expected: Reports) -> str:
    """Let the one pass write it, with nothing kept of earlier reports, with all, and with what parsing gave.

    Returns:
        What differs from the reports that are expected; empty if nothing does.
    """
    first = ReportCache([])
    found = _difference(expected, _one_pass(engine, scene, first, processes=1))
    for number, entries in enumerate((first.made, _facts(first)) if not found else ()):
        bundle = scene.scratch / f"bundle-{number}"
        write_bundle(bundle, [(key, 0, entry) for key, entry in entries.items()])
        with ExitStack() as stack:
            kept = open_bundle(bundle)
            cache = ReportCache([stack.enter_context(kept)] if kept else [])
            found = found or _difference(expected, _one_pass(engine, scene, cache, processes=2 - number))
    return found


def _one_pass(engine: ModuleType, scene: Scene, cache: ReportCache, processes: int) -> Reports:
    with _written(scene) as caught:
        written = engine.write_all(scene.configured, scene.out, processes=processes, cache=cache)
        totals, figures = figures_of(written.files, has_branches=written.has_branches)
        remarks = frozenset((*messages(caught), *written.warnings))
        return Reports(_contents(scene.out), totals, figures, remarks)


@contextmanager
def _written(scene: Scene) -> Iterator[list[warnings.WarningMessage]]:
    """Give a list of the warnings of what is written meanwhile, and take away the reports in the end."""
    scene.out.mkdir()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield caught
    finally:
        shutil.rmtree(scene.out)


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _unstamped(path) for path in files}


def _unstamped(path: Path) -> bytes:
    content = path.read_bytes()
    for suffix, stamp, most in _STAMPS:
        if path.suffix == suffix:
            content = stamp.sub(b"", content, count=most)
    return content


def _facts(cache: ReportCache) -> dict[str, bytes]:
    """Return those entries that hold what parsing a source gave, not what the reports say of it."""
    from covfleet.report.onepass.parsed_source import from_entry  # noqa: PLC0415 - see trial.prove

    return {
        key: entry
        for key, entry in cache.made.items()
        if (content := unpack_entry(key, entry)) and from_entry(content)
    }


def _difference(expected: Reports, made: Reports) -> str:
    """Return what two ways don't agree on, first of all which file; empty if they agree on all."""
    names = sorted(expected.files.keys() | made.files.keys())
    differing = [name for name in names if expected.files.get(name) != made.files.get(name)]
    if differing:
        more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        return f"would write another {differing[0]}{more}"
    if (expected.totals, expected.figures) != (made.totals, made.figures):
        return "would count otherwise"
    if expected.warnings != made.warnings:
        return "would warn otherwise"
    return ""
