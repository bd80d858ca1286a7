"""Decide which measured paths belong to the project, and their names in the combined result.

A data file contains whatever ran: the project's sources, files that tests wrote to /tmp, other people's
packages. Reports publish the files in the result, so only files that the build listed get into it. This
module decides from the path alone, before any merging: stock ``coverage combine`` derives rules from the
paths that it meets, so that its result depends on their order, and two folders of the same name may collapse
into one (https://github.com/coveragepy/coveragepy/issues/2072).
"""

from __future__ import annotations

import contextlib
import json
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

_REFUSALS = (ConfigError, CoverageException)  # in 7.10.6 the first isn't a subclass of the second
_WORKING_DIRECTORY = threading.Lock()  # a process has only one


@dataclass(frozen=True, slots=True)
class CoverageSettings:
    """The project's own coverage settings that combining needs."""

    rules: tuple[tuple[str, str], ...] = ()  # of [paths]: (pattern, replacement), in order
    plugins: tuple[str, ...] = ()  # modules named in [run] plugins


@dataclass(frozen=True, slots=True)
class Resolution:
    """The decision on every measured path."""

    own: Mapping[str, str]  # measured path -> the project's path
    by_rule: frozenset[str]  # those in ``own`` only through a rule of [paths]
    outside: tuple[str, ...]  # all others, sorted


def read_settings(project: Path) -> CoverageSettings:
    """Return the project's own coverage settings, from the file in which coverage.py finds them.

    Raises:
        ConfigurationError: coverage.py can't read them.
    """
    try:
        with _WORKING_DIRECTORY, contextlib.chdir(project):  # the only place where coverage.py looks
            config = coverage.Coverage(data_file=None)
        paths = config.get_option("paths")
        plugins = config.get_option("run:plugins")
    except _REFUSALS as error:
        raise ConfigurationError(
            f"the project's coverage settings can't be read: {error}",
            hint="Run `coverage debug config` in the project's folder to see how coverage.py reads them.",
        ) from error
    return _settings(paths, plugins)


def settings_in(text: str) -> CoverageSettings:
    """Return the same from the text of a plan."""
    values = json.loads(text)
    return _settings(values.get("paths"), values.get("run:plugins"))


def _settings(paths: object, plugins: object) -> CoverageSettings:
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
    """Decide on every measured path; the order of ``measured`` doesn't matter.

    A path belongs to the project if it is in ``known``, or is below one of ``roots`` and known relative to
    it, or is mapped to a known path by a rule of ``[paths]``, tried in this order.

    Args:
        measured: paths in data files: relative to the project, or absolute.
        known: the project's files, relative.
        roots: absolute folders in which workers had the project.
        rules: the project's ``[paths]``.

    Raises:
        ConfigurationError: coverage.py rejects a pattern of ``[paths]``.
    """
    files = frozenset(path for path in known if "\\" not in path)  # coverage.py turns them into slashes
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
    """Name the project files to which ``[paths]`` maps two different files that one process executed.

    The same file below the roots of several machines is in several data files, which isn't a collision.
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
    """Return the outside paths whose last two parts match a file of the project: they may be copies of it."""
    tails = {tuple(path.split("/")[-2:]) for path in known if "/" in path}
    return tuple(path for path in outside if tuple(path.split("/")[-2:]) in tails)


def _at_home(path: str, files: frozenset[str], folders: tuple[str, ...]) -> str | None:
    if path in files:
        return path
    below = (path[len(folder) :] for folder in folders if path.startswith(folder))
    return next((name for name in below if name in files), None)


def _by_rule(path: str, files: frozenset[str], rules: tuple[tuple[str, str], ...]) -> str | None:
    """Apply the project's rules, but not the one that ``PathAliases`` invents if none of them matches."""
    aliases = PathAliases(relative=True)  # a new one each time: it would keep an invented rule
    try:
        for pattern, result in rules:
            aliases.add(pattern, result)
    except _REFUSALS as error:
        raise ConfigurationError(f"[paths] of the project's coverage settings: {error}") from error
    mapped = aliases.map(path, exists=lambda name: posixpath.normpath(name) in files)
    name = posixpath.normpath(mapped)
    return name if name in files and len(aliases.aliases) == len(rules) else None
