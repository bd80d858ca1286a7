"""Match the patterns of ``.dockerignore`` as Docker does.

The SDK has its own matcher, but a line such as ``!README`` makes it send files from a folder that
``**/secrets`` excludes; such files must not end up in an image. The rules:
https://docs.docker.com/build/concepts/context/#dockerignore-files, and as code
https://github.com/moby/patternmatcher/blob/main/patternmatcher.go (``MatchesOrParentMatches``).
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_GLOB = re.compile(r"\*\*$|\*\*/?|\*|\?|\\.|\[[^\]]+\]|.")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line; ``keep`` means that it reverts the exclusions of earlier lines."""

    regex: re.Pattern[str]
    keep: bool


def parse(lines: Iterable[str]) -> tuple[Rule, ...]:
    """Return the rules in the lines of a ``.dockerignore`` file, in their order."""
    rules = []
    for line in lines:
        text = line.strip()
        keep = text.startswith("!")
        pattern = posixpath.normpath(text.removeprefix("!").strip().strip("/") or ".")
        if pattern != "." and not line.startswith("#"):
            rules.append(Rule(re.compile("".join(map(_translated, _GLOB.findall(pattern)))), keep))
    return tuple(rules)


def is_ignored(path: str, rules: Iterable[Rule]) -> bool:
    """Return whether ``path`` is excluded; the last rule that matches it or a parent folder decides."""
    parts = path.split("/")
    names = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    ignored = False
    for rule in rules:
        if ignored == rule.keep and any(map(rule.regex.fullmatch, names)):
            ignored = not rule.keep
    return ignored


def kept_paths(root: Path, rules: tuple[Rule, ...]) -> tuple[str, ...]:
    """Return all paths below ``root`` that the rules keep, relative to it, sorted; links aren't followed."""
    takes_back = any(rule.keep for rule in rules)

    def walk(folder: str) -> Iterator[str]:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                path = posixpath.join(folder, entry.name)
                ignored = is_ignored(path, rules)
                if not ignored:
                    yield path
                if entry.is_dir(follow_symlinks=False) and (takes_back or not ignored):
                    yield from walk(path)

    return tuple(sorted(walk("")))


def _translated(glob: str) -> str:
    if glob.startswith("**"):
        return "(.*/)?" if glob.endswith("/") else ".*"
    if glob in ("*", "?"):
        return glob.replace("?", "[^/]").replace("*", "[^/]*")
    return glob if glob[0] == "[" and len(glob) > 1 else re.escape(glob[-1])
