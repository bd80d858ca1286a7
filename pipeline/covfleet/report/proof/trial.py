"""The proof that the one pass writes what coverage.py writes: both write a few sources, and each byte counts.

coverage.py changes, and what the one pass uses of it is private. So whoever has a combination of interpreter,
coverage.py, covfleet and settings that wasn't tried out yet does it first, with

- a sample of covfleet's own that has something of everything (``sample``), and
- a few sources of the project, which together have as much as possible (``choice``),

each in every format, with statements or branches and with or without contexts as the project's data has them,
made anew and from what a report before has left. What differs, fails or isn't there any more is no error:
coverage.py's public calls make the reports then (``stock``), and the summary says why.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from coverage import Coverage
from coverage.exceptions import CoverageException, DataError

from covfleet.errors import PipelineError
from covfleet.report.cache.contents import ReportCache
from covfleet.report.cache.keys import makers, proof_key
from covfleet.report.proof.choice import candidates, choose, write_part
from covfleet.report.proof.comparison import Scene, one_pass, stock
from covfleet.report.proof.record import Proof, broken, recall
from covfleet.report.proof.sample import CONTEXTS, PLUGIN, Kind, write_sample
from covfleet.report.stock import Options, opened, outputs
from covfleet.text import one_line

_PASSING = (OSError, MemoryError, PipelineError, DataError, sqlite3.Error)
"""What says nothing of the one pass: a full disk, a killed process."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The reports that are to be made. The working directory must be the folder of their sources."""

    data_file: Path
    options: Options  # over the project's own
    scratch: Path  # an existing folder
    settings: str = ""  # the project's own, as the plan has them; empty: from the file among the sources

    def configured(self) -> contextlib.AbstractContextManager[Coverage]:
        """Open coverage.py with the data loaded."""
        return opened(self.data_file, self.options, settings=self.settings)


def load_engine() -> ModuleType:
    """Return the module of the one pass. Raises anything, if coverage.py has none of what it uses."""
    from covfleet.report.onepass import engine  # noqa: PLC0415 - only who can do without may ask for it

    return engine


def proof_of(subject: Subject, cache: ReportCache | None) -> tuple[str, Proof]:
    """Return what an earlier report has found out, or what is found out now; and the key to remember it by.

    Raises:
        CoverageException: coverage.py can't use the project's configuration or data.
        ConfigurationError: a plugin can't be imported.
    """
    try:
        with subject.configured() as cov:
            key = proof_key(cov)
    except (CoverageException, PipelineError):
        raise
    except Exception as error:
        return "", failed(error)
    return key, recall(cache, key) or prove(subject)


def prove(subject: Subject) -> Proof:
    """Try the one pass on the sample, and on a few of the project's own sources."""
    return _guarded(subject, lambda folder: _tried(subject, folder))


def prove_by_sample(subject: Subject, kinds: Iterable[Kind]) -> Proof:
    """Try the one pass on the sample alone, with data of several kinds, and the options for each."""

    def tried(folder: Path) -> tuple[int, int, str]:
        most = 0
        for number, kind in enumerate(kinds):
            sources, fault = _on_sample(subject, folder / str(number), kind)
            most = max(most, sources)
            if fault:
                return most, 0, fault
        return most, 0, ""

    return _guarded(subject, tried)


def failed(error: Exception) -> Proof:
    """Return that the one pass, or the proof of it, has failed."""
    said = one_line(f"{type(error).__name__}: {error}")
    return broken(f"fails: {said}", is_final=not isinstance(error, _PASSING))


def _guarded(subject: Subject, tried: Callable[[Path], tuple[int, int, str]]) -> Proof:
    try:
        with tempfile.TemporaryDirectory(prefix="proof-", dir=subject.scratch) as folder:
            sample, own, fault = tried(Path(folder))
    except Exception as error:  # whatever a coverage.py does that nobody has seen yet
        return failed(error)
    return Proof(fault, sample, own, makers())


def _tried(subject: Subject, folder: Path) -> tuple[int, int, str]:
    with subject.configured() as cov:
        data = cov.get_data()
        kind = Kind(branches=data.has_arcs(), contexts=bool(data.measured_contexts() - {""}))
    sample, fault = _on_sample(subject, folder / "sample", kind)
    if fault:
        return sample, 0, fault
    own, fault = _on_own_sources(subject, folder / "own")
    return sample, own, fault


def _on_sample(subject: Subject, folder: Path, kind: Kind) -> tuple[int, str]:
    """Return how many sources of the sample were compared, and what differs."""
    with subject.configured() as cov:
        options = dict(subject.options) | _for_sample(cov)
        ignores_errors = bool(cov.get_option("report:ignore_errors"))
        config_file = cov.config.config_file or False
    sources, data_file, out = folder / "sources", folder / "data", folder / "out"
    sources.mkdir(parents=True)
    with contextlib.chdir(sources):
        number = write_sample(sources, data_file, kind, with_unreadable=ignores_errors)
        configured = partial(
            opened,
            data_file,
            options | outputs(out),
            config_file=config_file,
            settings=subject.settings,
        )
        return number, _fault(Scene(configured, out, folder))


def _for_sample(cov: Coverage) -> dict[str, str | bool | list[str] | None]:
    """Return what must differ from the project's settings for the sample to be reported."""
    style = cov.get_option("html:extra_css")
    return {
        "run:plugins": [PLUGIN],
        "report:include": None,
        "report:omit": None,
        "report:contexts": [*CONTEXTS[1:2]] if cov.get_option("report:contexts") else None,
        "html:extra_css": str(Path(str(style)).resolve()) if style else None,
    }


def _on_own_sources(subject: Subject, folder: Path) -> tuple[int, str]:
    """Return how many of the project's own sources were compared, and what differs."""
    data_file, out = folder / "data", folder / "out"
    folder.mkdir()
    with subject.configured() as cov:
        sources = [(source.name, source.size_bytes) for source in load_engine().sources_of(cov)]
        names = choose(candidates(cov, sources))
        write_part(cov, names, data_file)
    if not names:
        return 0, ""
    options = dict(subject.options) | outputs(out)
    configured = partial(opened, data_file, options, settings=subject.settings)
    return len(names), _fault(Scene(configured, out, folder))


def _fault(scene: Scene) -> str:
    return one_pass(load_engine(), scene, stock(scene))
