"""Which measured paths are the project's own, and what each is called in the combined result.

A data file names whatever ran: the project's sources, files that tests wrote to /tmp, other people's
packages. Reports publish what the result names, so only files that the build listed get into it. The decision
is made here, from the path alone, before any merging: stock ``coverage combine`` learns rules from the paths
that it meets, so that its result depends on their order and two folders of one name may collapse into one
(https://github.com/coveragepy/coveragepy/issues/2072).
"""

from __future__ import annotations

import contextlib
import posixpath
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import coverage
from coverage.exceptions import ConfigError, CoverageException
from coverage.files import PathAliases

from covfleet.combine.contents import CheckedData
from covfleet.errors import ConfigurationError
from covfleet.model import Problem

_REFUSALS = (ConfigError, CoverageException)  # in 7.10.6 the first isn't one of the second
_WORKING_DIRECTORY = threading.Lock()  # there is one a process


@dataclass(frozen=True, slots=True)
class CoverageSettings:
    """What combining needs of the project's own coverage settings."""

    rules: tuple[tuple[str, str], ...] = ()  # of [paths]: (pattern, what it stands for), in order
    plugins: tuple[str, ...] = ()  # modules named in [run] plugins


@dataclass(frozen=True, slots=True)
class Resolution:
    """What became of every measured path."""

    own: Mapping[str, str]  # measured path -> the project's path
    by_rule: frozenset[str]  # those of them that only a rule of [paths] made the project's
    outside: tuple[str, ...]  # the others, sorted


def read_settings(project: Path) -> CoverageSettings:
    """Return the project's own coverage settings, from whichever file coverage.py finds them in.

    Raises:
        ConfigurationError: coverage.py can't read them.
    """
    try:
        with _WORKING_DIRECTORY, contextlib.chdir(project):  # coverage.py looks for its settings nowhere else
            config = coverage.Coverage(data_file=None)
        paths = config.get_option("paths")
        plugins = config.get_option("run:plugins")
    except _REFUSALS as error:
        raise ConfigurationError(
            f"the project's coverage settings can't be read: {error}",
            hint="`coverage debug config` in the project's folder shows what coverage.py makes of them.",
        ) from error
    sections = paths.values() if isinstance(paths, dict) else ()
    rules = [(pattern, names[0]) for names in sections if names for pattern in names[1:]]
    return CoverageSettings(tuple(rules), tuple(plugins) if isinstance(plugins, list) else ())


def resolve(
    measured: Iterable[str],
    *,
    known: Collection[str],
    roots: Iterable[str],
    rules: Iterable[tuple[str, str]],
) -> Resolution:
    """Decide about every measured path; the order of ``measured`` doesn't matter.

    A path is the project's own if it is one of ``known``, or lies below one of ``roots`` and is known there,
    or is mapped to a known one by a rule of ``[paths]``, tried in this order.

    Args:
        measured: paths as data files have them: relative to the project, or absolute.
        known: the project's files, relative.
        roots: absolute folders that workers had the project in.
        rules: the project's ``[paths]``.

    Raises:
        ConfigurationError: a pattern of ``[paths]`` is one that coverage.py refuses.
    """
    files = frozenset(path for path in known if "\\" not in path)  # coverage.py makes slashes of them
    folders = tuple(sorted(root.rstrip("/") + "/" for root in roots if root))
    rules = tuple(rules)
    own: dict[str, str] = {}
    by_rule = set()
    outside = []
    for path in sorted(set(measured)):
        if found := _at_home(path, files, folders):
            own[path] = found
        elif found := _by_rule(path, files, rules):
            own[path] = found
            by_rule.add(path)
        else:
            outside.append(path)
    return Resolution(own, frozenset(by_rule), tuple(outside))


def collisions(data: CheckedData, resolution: Resolution) -> tuple[Problem, ...]:
    """Name the project files onto which ``[paths]`` maps two different files that one process executed.

    The same file under the roots of several machines comes in several data files, and is no collision.
    """
    executed = data.executed & resolution.own.keys()
    if len({resolution.own[path] for path in executed}) == len(executed):
        return ()
    sources = defaultdict(list)
    for path in sorted(executed):
        sources[resolution.own[path]].append(path)
    return tuple(
        Problem("conflict", data.name, f"{' and '.join(paths)} would both become {target}: see [paths]")
        for target, paths in sorted(sources.items())
        if len(paths) > 1 and not resolution.by_rule.isdisjoint(paths)
    )


def look_alikes(outside: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return the paths outside whose last two parts are those of a project's file: copies of it, perhaps."""
    tails = {tuple(path.split("/")[-2:]) for path in known if "/" in path}
    return tuple(path for path in outside if tuple(path.split("/")[-2:]) in tails)


def _at_home(path: str, files: frozenset[str], folders: tuple[str, ...]) -> str | None:
    if path in files:
        return path
    below = (path[len(folder) :] for folder in folders if path.startswith(folder))
    return next((name for name in below if name in files), None)


def _by_rule(path: str, files: frozenset[str], rules: tuple[tuple[str, str], ...]) -> str | None:
    """Apply the project's rules, and not the one that ``PathAliases`` makes up when none of them fits."""
    aliases = PathAliases(relative=True)  # a new one each time: it would keep what it made up
    try:
        for pattern, result in rules:
            aliases.add(pattern, result)
    except _REFUSALS as error:
        raise ConfigurationError(f"[paths] of the project's coverage settings: {error}") from error
    mapped = aliases.map(path, exists=lambda name: posixpath.normpath(name) in files)
    name = posixpath.normpath(mapped)
    return name if name in files and len(aliases.aliases) == len(rules) else None
