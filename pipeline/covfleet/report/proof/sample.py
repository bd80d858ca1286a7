"""Sources that have at least one of everything that reports show, so that a proof doesn't hang on luck.

They are never executed. Which of their lines and branches ran is made up from coverage.py's own list of them,
so that it fits every version of it and of Python.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from coverage import CoverageData, CoveragePlugin, FileReporter

from covfleet.report.stock import opened

PLUGIN = __name__
"""What ``[run] plugins`` must name for the sample to be reported."""

CONTEXTS = ("", "sample.test_first", "sample.test_second|run")

_BRANCHES = b"""\
import os


def pick(n, *rest, limit=3):
    '''Branches of every kind.'''
    for i in range(n):
        if i > limit: return i
        while i:
            i -= 1
            if i == 2:
                break
            elif i == 1:
                continue
        else:
            n += 1
    try:
        with open(os.devnull) as f, open(os.devnull):
            if n:
                f.read()
    except (OSError, ValueError) as error:
        raise RuntimeError from error
    else:
        n -= 1
    finally:
        n = 0
    assert n == 0, "never"
    return [x for x in rest if x] or (lambda: n)


while True:
    pick(3)
    break
if os.sep == "/": x = 1; y = 2
match x:
    case 1 | 2:
        y = 1
    case [z, *_] if z:
        y = 2
    case _:
        y = f"{x!r:>{10}} {{}}"
"""

_CLASSES = b"""\
import functools


class A:
    x = 1

    def m(self):
        def inner():
            return 1

        class B:
            def k(self): return 2

        return inner() + B().k()

    @property
    @functools.lru_cache(
        maxsize=3,
    )
    def p(self):
        return lambda: 0

    @staticmethod
    async def late(things):
        async with things as t:
            async for each in t:
                yield each
        await things


class Empty: pass


if A:

    def twice():
        return 1

else:

    def twice():
        return 2
"""

_EXCLUDED = b"""\
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os


def a():  # pragma: no cover
    return 1


if 0:  # pragma: no cover
    x = 1
else:
    x = 2


def b(n):
    if n:  # pragma: no branch
        return 1
    raise NotImplementedError


def protocol(): ...
"""

_TEXTS = """\
'''Text in many lines
    <b>&amp; "quoted" \\t</script>'''
long = 1 + \\
    2
call = dict(
    a=1,  # één 🦉
    b=[
        2,
    ],
)
s = 'a' \\
    'b'
λ = '\u2028 \u00a0'
""".encode()

_SOURCES: Mapping[str, bytes] = {
    "sample/__init__.py": b"",
    "sample/a&b <i>.py": b"odd = '&lt; \"quoted\"'\n",
    "sample/branches.py": _BRANCHES,
    "sample/classes.py": _CLASSES,
    "sample/comment.py": b"# nothing but this\n",
    "sample/crlf.py": b"def c():\r\n    return '''a\r\n  b\r\n'''\r\n\r\n\r\nc()",
    "sample/excluded.py": _EXCLUDED,
    "sample/latin.py": b"# -*- coding: latin-1 -*-\nname = 'caf\xe9 <b>&amp;'\n",
    "sample/sub/__init__.py": b"'''A docstring.'''\n",
    "sample/sub/covered.py": b"def f(a):\n    if a:\n        a += 1\n    return a\n",
    "sample/sub/unused.py": b"def never():\n    if 1:\n        return\n\n\nclass No:\n    def m(self): ...\n",
    "sample/tabs.py": b"def t(a):\n\tif a:\n\t\treturn (1,\t2)\n\treturn None\t# tab\n\n\x0c\nt(0)\n",
    "sample/texts.py": _TEXTS,
}
_COVERED, _UNUSED = "sample/sub/covered.py", "sample/sub/unused.py"
_TEMPLATE = ("sample/page.tmpl", b"<h1>{{ title }}</h1>\n{% if x %}\n&  two\n{% endif %}\n")
_BROKEN = ("sample/broken.py", b"def (:\n")
_MISSING = "sample/missing.py"


@dataclass(frozen=True, slots=True)
class Kind:
    """What the data of a project is like; the sample's is made alike."""

    branches: bool
    contexts: bool


def write_sample(folder: Path, data_file: Path, kind: Kind, *, with_unreadable: bool) -> int:
    """Write the sources into ``folder`` and their data into a file; return how many there are.

    Args:
        folder: an existing one, which must be the working directory.
        data_file: outside of it.
        kind: of the data.
        with_unreadable: add a source that is missing, and one that can't be parsed.
    """
    sources = dict([*_SOURCES.items(), _TEMPLATE, *([_BROKEN] if with_unreadable else [])])
    for name, content in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    found = _parts(folder)
    with closing(CoverageData(str(data_file))) as data:
        _begin(data, branches=kind.branches)
        for number, context in enumerate(CONTEXTS if kind.contexts else ("",)):
            data.set_context(context)
            ran = {name: _ran(name, part, number) for name, part in found.items()}
            ran[_TEMPLATE[0]] = [1, 3], _following([1, 3])
            if kind.branches:
                data.add_arcs({name: arcs for name, (_, arcs) in ran.items()})
            else:
                data.add_lines({name: lines for name, (lines, _) in ran.items()})
        data.touch_files(sorted(found))
        data.touch_file(_TEMPLATE[0], _TEMPLATE_READER)
        if with_unreadable:
            data.touch_files([_BROKEN[0], _MISSING])
    return len(sources) + with_unreadable


@dataclass(frozen=True, slots=True)
class _Parts:
    """Everything in a source that could run."""

    lines: Sequence[int]
    branches: Sequence[tuple[int, int]]


def _parts(folder: Path) -> dict[str, _Parts]:
    """Return what coverage.py says is missing of sources of which nothing ran."""
    data_file, report = folder / "nothing", folder / "nothing.json"
    with closing(CoverageData(str(data_file))) as data:
        _begin(data, branches=True)
        data.touch_files(sorted(_SOURCES))
    with opened(data_file, {"json:output": str(report)}, config_file=False) as cov:
        cov.json_report()
    files = json.loads(report.read_bytes())["files"]
    return {
        name: _Parts(files[name]["missing_lines"], [(a, b) for a, b in files[name]["missing_branches"]])
        for name in _SOURCES
    }


def _begin(data: CoverageData, *, branches: bool) -> None:
    if branches:
        data.add_arcs({})
    else:
        data.add_lines({})


def _ran(name: str, parts: _Parts, number: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Return lines and arcs that "ran" in a context: some, but of one source all, and of one none."""
    if name == _UNUSED:
        return [], []
    if name == _COVERED:
        return [*parts.lines], [*_following(parts.lines), *parts.branches]
    lines = [line for at, line in enumerate(parts.lines) if (at + number) % 4]
    branches = [branch for at, branch in enumerate(parts.branches) if (at + number) % 5 > 1]
    return lines, [*_following(lines), *branches]


def _following(lines: Iterable[int]) -> list[tuple[int, int]]:
    lines = [*lines]
    return [(-1, line) for line in lines[:1]] + [*pairwise(lines)] + [(line, -1) for line in lines[-1:]]


class _Templates(CoveragePlugin):
    """Reads the sample's template."""

    def file_reporter(self, filename: str) -> FileReporter:
        return _Template(filename)


class _Template(FileReporter):
    def lines(self) -> set[int]:
        return {1, 3, 4}


_TEMPLATE_READER = f"{PLUGIN}.{_Templates.__name__}"


def coverage_init(reg: object, _options: object) -> None:
    """Let coverage.py know the plugin."""
    reg.add_file_tracer(_Templates())  # type: ignore[attr-defined]
