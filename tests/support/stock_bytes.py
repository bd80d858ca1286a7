"""Prints where the reports differ from those of the coverage.py that is importable, as JSON; a program.

python stock_bytes.py FOLDER [CASE ...]    with PYTHONHASHSEED set: coverage.py's JSON shows the order of sets
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import coverage
from coverage.cmdline import main as coverage_command
from covfleet.report.cache.contents import ReportCache
from covfleet.report.cache.file import open_bundle
from covfleet.report.rendering import Rendered, Rendering, render

STAMPS = re.compile(rb'created at [^<]*|timestamp="\d+"|"timestamp": "[^"]*"|"globals":"\w*"')

SOURCES = Path(__file__).parents[1] / "data" / "sources"
ODD_SOURCES = {  # what editors and git would make harmless
    "pkg/__init__.py": b"",
    "pkg/deep/__init__.py": b"",
    "pkg/comment.py": b"# nothing but this\n",
    "pkg/unused.py": b"def never():\n    if 1:\n        return\n",
    "pkg/tabs.py": b"def t(a):\n\tif a:\n\t\treturn (1,\t2)\n\treturn None\t# tab\n\n\x0c\nt(0)\n",
    "pkg/crlf.py": b"def c():\r\n    return '''a\r\n  b\r\n'''\r\n\r\n\r\nc()",
    "pkg/latin.py": b"# -*- coding: latin-1 -*-\nname = 'caf\xe9 <b>&amp;'\n",
    "pkg/blanks.py": "text = '''\\\nmany \\\n  lines   \n\n\n\t</script>'''\nλ = '\u2028 \u00a0'\n".encode(),
    "pkg/a&b <i>.py": b"odd = '&lt; \"quoted\"'\n",
    "page.tmpl": b"<h1>{{ title }}</h1>\n{% if x %}\n&  two\n{% endif %}\n",
}

PLUGIN = """
from coverage import CoveragePlugin, FileReporter


class Templates(CoveragePlugin):
    def file_reporter(self, filename):
        return Template(filename)


class Template(FileReporter):
    def lines(self):
        return {1, 3, 4}


def coverage_init(reg, options):
    reg.add_file_tracer(Templates())
"""


@dataclass(frozen=True)
class Case:
    """A project's configuration, and how its data is made."""

    name: str
    run: str = ""
    report: str = ""
    broken: tuple[str, ...] = ()  # sources that can't be parsed
    missing: tuple[str, ...] = ()
    plugin: bool = False


CASES = (
    Case("statements"),
    Case("branches", "branch = true", "[report]\nshow_missing = true\n"),
    Case("contexts", "dynamic_context = test_function", "[html]\nshow_contexts = true\n"),
    Case(
        "branches and contexts",
        "branch = true\ndynamic_context = test_function",
        "[html]\nshow_contexts = true\n[json]\nshow_contexts = true\n",
    ),
    Case(
        "indented contexts",
        "dynamic_context = test_function",
        "[json]\nshow_contexts = true\npretty_print = true\n",
    ),
    Case(
        "chosen contexts",
        "branch = true\ndynamic_context = test_function",
        "[report]\ncontexts = .*first\nshow_missing = true\n[html]\nshow_contexts = true\n",
    ),
    Case(
        "skipping",
        "branch = true",
        "[report]\nskip_covered = true\nskip_empty = true\nsort = -miss\nprecision = 3\n"
        "exclude_also = def never\n[json]\npretty_print = true\n[lcov]\nline_checksums = true\n"
        "[xml]\npackage_depth = 1\n[html]\nextra_css = own.css\ntitle = A <b> title\n",
    ),
    Case("skipping in the pages only", "", "[html]\nskip_covered = true\nskip_empty = true\n"),
    Case("some sources", "branch = true", "[report]\ninclude = pkg/*\nomit = *deep*\nsort = Cover\n"),
    Case(
        "ignored errors",
        "branch = true",
        "[report]\nignore_errors = true\n",
        broken=("pkg/plain.py", "pkg/unused.py"),
        missing=("pkg/deep/er.py",),
    ),
    Case("a plugin", report="[report]\nshow_missing = true\n", plugin=True),
)


def measure(case: Case, folder: Path) -> Path:
    """Write the project into ``folder``, and return the data of a run of it."""
    data = folder.with_name(f"{folder.name}.data")
    shutil.copytree(SOURCES, folder)
    for name, content in ODD_SOURCES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "own.css").write_text("h1 { color: teal }\n")
    plugins = "plugins = templates_plugin\n" if case.plugin else ""
    common = f"[run]\nrelative_files = true\nsource = .\n{case.run}\n"
    (folder / ".coveragerc").write_text(common)
    run = [sys.executable, "-m", "coverage", "run", f"--data-file={data}", "program.py"]
    subprocess.run(run, cwd=folder, check=True, timeout=60)
    (folder / ".coveragerc").write_text(common + plugins + case.report)
    if case.plugin:
        found = coverage.CoverageData(str(data))
        found.read()
        found.add_lines({"page.tmpl": [1, 3]})
        found.add_file_tracers({"page.tmpl": "templates_plugin.Templates"})
        found.write()
        found.close()
    for name in case.broken:
        (folder / name).write_bytes(b"def (:\n")
    for name in case.missing:
        (folder / name).unlink()
    return data


def stock(folder: Path, data: Path, into: Path) -> None:
    """Write coverage.py's own reports."""
    common = [f"--data-file={data}", "--fail-under=0"]
    table = io.StringIO()
    with contextlib.chdir(folder), warnings.catch_warnings(), contextlib.redirect_stdout(table):
        warnings.simplefilter("ignore")
        coverage_command(["html", "-q", f"--directory={into / 'html'}", *common])
        for kind in ("xml", "json", "lcov"):
            coverage_command([kind, "-q", f"-o{into / f'coverage.{kind}'}", *common])
        table.truncate(table.seek(0))
        coverage_command(["report", "--format=text", *common])
    (into / "coverage.txt").write_text(table.getvalue(), encoding="utf-8")


def ours(folder: Path, data: Path, into: Path, processes: int, bundle: Path) -> tuple[Rendered, ReportCache]:
    """Write covfleet's, with what the bundle holds, and leave there what the next report may use."""
    scratch = into.with_name(f"{into.name}.scratch")
    for made in (into, scratch):
        made.mkdir()
    found = open_bundle(bundle) if bundle.exists() else None
    with found or contextlib.nullcontext():
        cache = ReportCache([found] if found else [])
        made = render(Rendering(data, folder, into, scratch, False, "", "complete", processes, cache))
        cache.write(bundle.with_suffix(".new"))
    bundle.with_suffix(".new").rename(bundle)
    return made, cache


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file without what tells two runs apart."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): STAMPS.sub(b"", path.read_bytes()) for path in files}


def differences(case: Case, root: Path) -> tuple[set[str], list[str]]:
    """Return why there was more than one pass; and what differs, by case and what was kept before."""
    folder = root / case.name
    data = measure(case, folder)
    expected = root / f"{case.name}.stock"
    stock(folder, data, expected)
    wanted = contents(expected)
    assert len(wanted) > 12, wanted.keys()
    found, faults = [], set()
    runs = (("nothing", 1, False), ("all", 1, True), ("all", 2, True), ("facts", 2, False))
    for number, (kept, processes, is_warm) in enumerate(runs):
        into = root / f"{case.name}.{number}"
        with _without_fragments() if kept == "facts" else contextlib.nullcontext():
            report, cache = ours(folder, data, into, processes, root / f"{case.name}.bundle")
        faults |= {report.proof.fault} - {""}
        if is_warm and cache.is_news and not faults:
            found.append(f"{case.name}, {kept} kept: it was made again")
        made = contents(into)
        differing = (name for name in wanted.keys() | made.keys() if wanted.get(name) != made.get(name))
        found += [f"{case.name}, {kept} kept, {processes} processes: {name}" for name in differing]
    return faults, sorted(found)


@contextlib.contextmanager
def _without_fragments() -> Iterator[None]:
    """Let reports find what parsing gave, and make all the rest."""
    try:
        from covfleet.report.cache.lookup import Memory
    except ImportError:  # this coverage.py lacks what the one pass uses
        yield
        return
    fragment = Memory.fragment
    Memory.fragment = lambda *_: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Memory.fragment = fragment  # type: ignore[method-assign]


def main() -> None:
    """Compare all cases, or those that are named."""
    root = Path(sys.argv[1])
    (root / "plugin").mkdir()
    (root / "plugin/templates_plugin.py").write_text(PLUGIN)
    sys.path.insert(0, str(root / "plugin"))
    found = [differences(case, root) for case in CASES if case.name in (sys.argv[2:] or [case.name])]
    result = {
        "version": coverage.__version__,
        "faults": sorted(set().union(*(faults for faults, _ in found))),
        "differences": [line for _, lines in found for line in lines],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
