"""coverage.py's own reports: HTML, XML, JSON, LCOV and the text table.

In one pass over the sources (``onepass``) where that is proved to write what coverage.py does (``proof``),
through its public calls (``stock``) elsewhere. Both give the bytes of ``coverage html|xml|json|lcov|report``
on the same tree with ``relative_files``.
"""

from __future__ import annotations

import contextlib
import platform
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from coverage import Coverage
from coverage.exceptions import ConfigError, CoverageException, NoDataError, NotPython, PluginError

from covfleet.errors import ConfigurationError, IncompleteDataError, PipelineError
from covfleet.model import Totals, Verdict
from covfleet.report.cache.contents import ReportCache
from covfleet.report.own.figures import FileFigures, figures_of, read_figures
from covfleet.report.own.verdicts import banner_css, heading
from covfleet.report.own.xml_names import ambiguous
from covfleet.report.proof.record import Proof, last_fault, remember
from covfleet.report.proof.sample import Kind
from covfleet.report.proof.trial import Subject, failed, load_engine, proof_of, prove_by_sample
from covfleet.report.stock import messages, opened, outputs, write_each
from covfleet.text import listed

_STOCK_TITLE = "Coverage report"


@dataclass(frozen=True, slots=True)
class Rendering:
    """The input of rendering. All paths are absolute."""

    data_file: Path
    source_dir: Path
    into: Path  # an existing folder
    scratch: Path  # an existing folder for temporary files
    contexts: bool
    title: str
    verdict: Verdict
    processes: int | None = None  # by default as many as are worthwhile
    cache: ReportCache | None = None
    settings: str = ""  # coverage.py's, as the plan has them; empty: from the file among the sources


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the reports say in figures, and what is to be said of them."""

    totals: Totals
    files: tuple[FileFigures, ...]
    warnings: tuple[str, ...]  # of coverage.py
    proof: Proof  # whether they were made in one pass, and why


def render(job: Rendering) -> Rendered:
    """Write ``html/`` and ``coverage.xml|json|lcov|txt`` into ``job.into``.

    coverage.py takes relative paths, its configuration file's included, from the working directory, and
    offers no other way: so this module, and no other of covfleet, changes it, for the time it runs. Call
    it from one thread at a time, with no other thread that uses relative paths.

    Raises:
        ConfigurationError: the project's coverage configuration can't be used.
        IncompleteDataError: a source is missing or can't be parsed, or there is nothing to report.
    """
    with contextlib.chdir(job.source_dir), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with _explained():
            subject = _subject(job)
            key, proof = proof_of(subject, job.cache)
            made = _in_one_pass(job, subject, proof) if proof.holds else proof
            if isinstance(made, Proof):
                made = _one_by_one(job, subject, made)
            remember(job.cache, key, made.proof)
    return replace(made, warnings=tuple(dict.fromkeys((*messages(caught), *made.warnings))))


def examine(source_dir: Path, cache: ReportCache) -> Proof:
    """Return whether one pass can make the reports of a project, as the sample and earlier reports show.

    Changes the working directory for the time it runs, as ``render`` does.

    Raises:
        ConfigurationError: the project's coverage configuration can't be used.
    """
    with (
        tempfile.TemporaryDirectory(prefix="covfleet-") as scratch,
        contextlib.chdir(source_dir),
        warnings.catch_warnings(),
        _explained(),
    ):
        warnings.simplefilter("ignore")
        subject = Subject(Path(scratch, "no data"), {"html:show_contexts": True}, Path(scratch))
        with subject.configured():  # the project's faults are none of the one pass
            pass
        kinds = (Kind(branches=False, contexts=False), Kind(branches=True, contexts=True))
        return last_fault(cache) or prove_by_sample(subject, kinds)


def _in_one_pass(job: Rendering, subject: Subject, proof: Proof) -> Rendered | Proof:
    """Return what the one pass gave; or, with nothing of it left, that it may not be used after all."""
    try:
        written = load_engine().write_all(
            subject.configured, job.into, processes=job.processes, cache=job.cache
        )
        totals, files = figures_of(written.files, has_branches=written.has_branches)
    except (CoverageException, PipelineError):
        raise
    except Exception as error:  # it met something that the proof didn't have
        for path in job.into.glob("coverage.*"):
            path.unlink()
        shutil.rmtree(job.into / "html", ignore_errors=True)
        return failed(error)
    return Rendered(totals, files, written.warnings, proof)


def _one_by_one(job: Rendering, subject: Subject, proof: Proof) -> Rendered:
    write_each(subject.configured, job.into)
    totals, files = read_figures(job.into / "coverage.json")
    return Rendered(totals, files, (), proof)


def _subject(job: Rendering) -> Subject:
    """Return what to report, with what the reports are made with beside the project's own settings."""
    with opened(job.data_file, {}, settings=job.settings) as cov:
        _check_paths(job, cov.get_data().measured_files())
        title = _option(cov, "html:title")
        options = (
            outputs(job.into)
            | _unambiguous(cov)
            | {
                "html:title": heading(
                    job.title if job.title and title == _STOCK_TITLE else title, job.verdict
                ),
                "html:extra_css": _style_sheet(cov, job),
            }
        )
    # coverage.json has them only where the project's own settings ask: coverage.py repeats all contexts
    # of a file in each of its functions and classes, which makes gigabytes of a small suite.
    if job.contexts:
        options["html:show_contexts"] = True
    return Subject(job.data_file, options, job.scratch, job.settings)


def _unambiguous(cov: Coverage) -> dict[str, list[str]]:
    """Return what keeps the XML report from giving two files one name, and warn if anything must."""
    sources = cov.get_option("run:source")
    same = ambiguous(cov.get_data().measured_files(), sources if isinstance(sources, list) else ())
    if not same:
        return {}
    warnings.warn(
        f"coverage.xml names files from the project's folder: as seen from `source`, {listed(same)} would "
        "share names, and coverage.py's own report would lose lines of them",
        stacklevel=2,
    )
    return {"run:source": []}


def _check_paths(job: Rendering, measured: Iterable[str]) -> None:
    """Refuse data with files outside the sources: a report would publish their content."""
    root = job.source_dir.resolve()
    for path in sorted(measured):
        parts = PurePosixPath(path)
        inside = not parts.is_absolute() and ".." not in parts.parts
        if not inside or not (root / parts).resolve().is_relative_to(root):
            raise IncompleteDataError(
                f"the coverage data contains {path!r}, which is outside the project",
                hint="Reports show only project files. Combine the build again; the ledger lists such paths.",
            )


def _style_sheet(cov: Coverage, job: Rendering) -> str | None:
    """Return the path of the project's own style sheet, with a banner added if the build isn't complete.

    coverage.py would copy any file that the setting names, from anywhere on this machine, to the report.
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
        return IncompleteDataError("the coverage data contains no file to report", hint=hint)
    hint = "Leave the file out with [report] omit, or set [report] ignore_errors."
    if isinstance(error, NotPython):
        hint = f"covfleet's own Python {platform.python_version()} must be able to read it. {hint}"
    return IncompleteDataError(f"the reports can't be written: {error}", hint=hint)
