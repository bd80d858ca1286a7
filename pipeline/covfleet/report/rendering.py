"""coverage.py's own reports: HTML, XML, JSON, LCOV and the text table.

In one pass over the sources (``engine``) for the versions of coverage.py that it was compared with, through
the public API for any other. Both give the bytes of ``coverage html|xml|json|lcov|report`` on the same tree
with ``relative_files``.
"""

from __future__ import annotations

import contextlib
import importlib
import platform
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import coverage
from coverage import Coverage
from coverage.exceptions import ConfigError, CoverageException, NoDataError, NotPython, PluginError

from covfleet.errors import ConfigurationError, IncompleteDataError, PipelineError
from covfleet.model import Totals, Verdict
from covfleet.report.cache.contents import ReportCache
from covfleet.report.onepass import engine
from covfleet.report.onepass.fragments import messages
from covfleet.report.own.figures import FileFigures, figures_of, read_figures
from covfleet.report.own.verdicts import banner_css, heading

_STOCK_TITLE = "Coverage report"


@dataclass(frozen=True, slots=True)
class Rendering:
    """What to render. All paths are absolute."""

    data_file: Path
    source_dir: Path
    into: Path  # an existing folder
    scratch: Path  # an existing folder for files that are needed on the way
    contexts: bool
    title: str
    verdict: Verdict
    processes: int | None = None  # how many to work in; by default as many as are worth it
    cache: ReportCache | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the reports say in figures, and what coverage.py warned of on the way."""

    totals: Totals
    files: tuple[FileFigures, ...]
    warnings: tuple[str, ...]


def render(job: Rendering) -> Rendered:
    """Write ``html/`` and ``coverage.xml|json|lcov|txt`` into ``job.into``.

    coverage.py takes relative paths, its configuration file's included, from the working directory, and
    offers no other way: so this function, and no other of covfleet, changes it, for the time it runs. Call
    it from one thread at a time, with no other thread that uses relative paths.

    Raises:
        ConfigurationError: the project's coverage configuration can't be used.
        IncompleteDataError: a source is missing or can't be parsed, or there is nothing to report.
    """
    with contextlib.chdir(job.source_dir), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with _explained():
            settings = _settings(job)
            if coverage.__version__ in engine.VERSIONS:
                written = engine.write_all(
                    partial(_coverage, job, settings), job.into, processes=job.processes, cache=job.cache
                )
                totals, files = figures_of(written.files, has_branches=written.has_branches)
                remarks = written.warnings
            else:
                _write_each(job, settings)
                totals, files = read_figures(job.into / "coverage.json")
                remarks = ()
    return Rendered(totals, files, tuple(dict.fromkeys((*messages(caught), *remarks))))


def _settings(job: Rendering) -> dict[str, str | bool | None]:
    """Return what the reports are made with beside the project's own settings."""
    with _coverage(job, {}) as cov:
        _check_paths(job, cov.get_data().measured_files())
        title = _option(cov, "html:title")
        settings: dict[str, str | bool | None] = {
            "html:directory": str(job.into / "html"),
            "html:title": heading(job.title if job.title and title == _STOCK_TITLE else title, job.verdict),
            "html:extra_css": _style_sheet(cov, job),
            "xml:output": str(job.into / "coverage.xml"),
            "json:output": str(job.into / "coverage.json"),
            "lcov:output": str(job.into / "coverage.lcov"),
            "report:format": "text",
        }
    # coverage.json has them only where the project's own settings ask: coverage.py repeats all contexts
    # of a file in each of its functions and classes, which makes gigabytes of a small suite.
    return settings | ({"html:show_contexts": True} if job.contexts else {})


def _write_each(job: Rendering, settings: Mapping[str, str | bool | None]) -> None:
    """Write one report after the other through coverage.py's public API, as its own commands do.

    Reports leave traces in the object (contexts that were asked for, exclusions), so none sees another's.
    """
    with _coverage(job, settings) as cov:
        cov.html_report()
    with _coverage(job, settings) as cov:
        cov.xml_report()
    with _coverage(job, settings) as cov:
        cov.json_report()
    with _coverage(job, settings) as cov:
        cov.lcov_report()
    with _coverage(job, settings) as cov, (job.into / "coverage.txt").open("w", encoding="utf-8") as file:
        cov.report(file=file)


@contextlib.contextmanager
def _coverage(job: Rendering, settings: Mapping[str, str | bool | None]) -> Iterator[Coverage]:
    """Yield coverage.py with the project's configuration, ``settings`` over it, and the data loaded."""
    cov = Coverage(data_file=str(job.data_file))
    cov.set_option("run:relative_files", value=True)
    cov.set_option("paths", {})  # the combiner has mapped them, and refuses what this would map in silence
    cov.set_option("run:debug", [])
    for name, value in settings.items():
        cov.set_option(name, value)
    plugins = cov.get_option("run:plugins")
    for name in plugins if isinstance(plugins, list) else ():
        _check_plugin(str(name))
    cov.load()
    try:
        yield cov
    finally:
        cov.get_data().close()


def _check_plugin(name: str) -> None:
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            f"the plugin {name!r} of the project's coverage configuration can't be imported: {error}",
            hint=f"Install it into covfleet's own environment, for example: pip install {name}",
        ) from error


def _check_paths(job: Rendering, measured: Iterable[str]) -> None:
    """Refuse data that names files outside the sources: a report would publish their content."""
    root = job.source_dir.resolve()
    for path in sorted(measured):
        parts = PurePosixPath(path)
        inside = not parts.is_absolute() and ".." not in parts.parts
        if not inside or not (root / parts).resolve().is_relative_to(root):
            raise IncompleteDataError(
                f"the coverage data names {path!r}, which lies outside the project",
                hint="Reports show project files only. Combine the build again; the ledger names such paths.",
            )


def _style_sheet(cov: Coverage, job: Rendering) -> str | None:
    """Return the path of the project's own style sheet, with the banner added if the build isn't complete.

    coverage.py would copy any file that the setting names, from anywhere on this machine, into the report.
    """
    own = _option(cov, "html:extra_css")
    path = Path(own).resolve()
    if own and not (path.is_relative_to(job.source_dir.resolve()) and path.is_file()):
        warnings.warn(
            f"[html] extra_css names {own!r}, which isn't among the project's sources", stacklevel=2
        )
        own = ""
    if job.verdict == "complete":
        return own or None
    sheet = job.scratch / (path.name if own else "covfleet.css")
    css = path.read_text(encoding="utf-8") if own else ""
    sheet.write_text(css + banner_css(job.verdict), encoding="utf-8")
    return str(sheet)


def _option(cov: Coverage, name: str) -> str:
    value = cov.get_option(name)
    return value if isinstance(value, str) else ""


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn coverage.py's exceptions into ours."""
    try:
        yield
    except (ConfigError, PluginError) as error:
        raise ConfigurationError(f"coverage.py can't use the project's configuration: {error}") from error
    except CoverageException as error:
        raise _without_figures(error) from error


def _without_figures(error: CoverageException) -> PipelineError:
    if isinstance(error, NoDataError):
        hint = "Check source, include and omit in the project's coverage configuration."
        return IncompleteDataError("the coverage data holds no file to report", hint=hint)
    hint = "Leave the file out with [report] omit, or set [report] ignore_errors."
    if isinstance(error, NotPython):
        hint = f"covfleet's own Python {platform.python_version()} must be able to read it. {hint}"
    return IncompleteDataError(f"no report can be made: {error}", hint=hint)
