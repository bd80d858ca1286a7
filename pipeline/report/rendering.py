"""coverage.py's own reports: HTML, XML, JSON, LCOV and the text table, through its public API.

This is the seam: an engine that makes all formats in one pass replaces ``render``, and nothing else. What it
has to keep: the bytes of ``coverage html|xml|json|lcov|report`` on the same tree with ``relative_files``.
"""

from __future__ import annotations

import contextlib
import importlib
import platform
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from coverage import Coverage
from coverage.exceptions import (
    ConfigError,
    CoverageException,
    CoverageWarning,
    NoDataError,
    NotPython,
    PluginError,
)

from pipeline.errors import ConfigurationError, IncompleteDataError, PipelineError
from pipeline.model import Verdict
from pipeline.report.verdicts import banner_css, heading

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


def render(job: Rendering) -> tuple[str, ...]:
    """Write ``html/`` and ``coverage.xml|json|lcov|txt`` into ``job.into``; return the warnings on the way.

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
            _check_paths(job)
            _write_all(job)
    # The other categories are the parser's remarks on the project's code: not for the reader of a report.
    messages = (
        str(one.message) for one in caught if issubclass(one.category, (CoverageWarning, UserWarning))
    )
    return tuple(dict.fromkeys(messages))


def _write_all(job: Rendering) -> None:
    show_contexts = True if job.contexts else None  # None: as the project's configuration says
    with _coverage(job) as cov:
        title = _option(cov, "html:title")
        cov.html_report(
            directory=str(job.into / "html"),
            title=heading(job.title if job.title and title == _STOCK_TITLE else title, job.verdict),
            extra_css=_style_sheet(cov, job),
            show_contexts=show_contexts,
        )
    with _coverage(job) as cov:
        cov.xml_report(outfile=str(job.into / "coverage.xml"))
    with _coverage(job) as cov:
        cov.json_report(outfile=str(job.into / "coverage.json"), show_contexts=show_contexts)
    with _coverage(job) as cov:
        cov.lcov_report(outfile=str(job.into / "coverage.lcov"))
    with _coverage(job) as cov, (job.into / "coverage.txt").open("w", encoding="utf-8") as file:
        cov.report(file=file, output_format="text")


@contextlib.contextmanager
def _coverage(job: Rendering) -> Iterator[Coverage]:
    """Yield coverage.py with the project's configuration and the data loaded, one for each report.

    Reports leave traces in it (contexts that were asked for, exclusions), so none sees another's.
    """
    cov = Coverage(data_file=str(job.data_file))
    cov.set_option("run:relative_files", value=True)
    cov.set_option("paths", {})  # the combiner has mapped them, and refuses what this would map in silence
    cov.set_option("run:debug", [])
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


def _check_paths(job: Rendering) -> None:
    """Refuse data that names files outside the sources: a report would publish their content."""
    with _coverage(job) as cov:
        measured = sorted(cov.get_data().measured_files())
    root = job.source_dir.resolve()
    for path in measured:
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
        cov.set_option("html:extra_css", None)
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
