"""Combine a build: read, verify, judge, and only then merge and upload.

The ledger is uploaded whatever the verdict. Everything else in the store changes only if the result may be
published, so that a failed run keeps an earlier result, and a second run gives the same result.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from covfleet.combine.contents import CheckedData
from covfleet.combine.gather import Results, Sound, Transfers, fetch, promised
from covfleet.combine.growing import Growing
from covfleet.combine.ledger import Evidence, accepted, judge, outcomes_of
from covfleet.combine.merge import merge
from covfleet.combine.paths import CoverageSettings, Resolution, read_settings, resolve, settings_in
from covfleet.combine.refusal import publishable, refusal
from covfleet.combine.same import same_data
from covfleet.combine.union import UnfitError
from covfleet.combine.verify import LocalData, check, data_file
from covfleet.errors import IncompleteDataError, ObjectNotFoundError, StoreError
from covfleet.model import BatchResult, Ledger, Plan, Problem, TestOutcome
from covfleet.ports.narration import Narrate, Progress
from covfleet.store.build import StoredBuild
from covfleet.store.commit import StoredCommit
from covfleet.store.data_files import stored_name
from covfleet.store.timings import update_timings

_AT_ONCE = 32  # data files on the disk at a time while merging in advance


@dataclass(frozen=True, slots=True)
class Combined:
    """A coverage result with its ledger, sources and outcomes."""

    ledger: Ledger
    data_file: Path  # ".coverage", with paths relative to ``source_dir``
    source_dir: Path  # the project's sources as measured
    plan: Plan | None  # None: a folder that other tools filled
    outcomes: tuple[TestOutcome, ...]  # in the order of the plan


def combine_build(
    build: StoredBuild,
    workdir: Path,
    *,
    allow_partial: bool,
    workers: int,
    progress: Progress | None = None,
) -> Combined:
    """Combine all data of a build at once, or report its faults.

    Uploads the ledger, the combined data as the build's and the commit's, and the new timings.

    Args:
        build: the build.
        workdir: a folder for the result and for downloads, which stay there.
        allow_partial: continue with the verdict *partial*; never with *conflicting*.
        workers: number of parallel transfers.
        progress: called with (done, total) data files as they are downloaded.

    Raises:
        ConfigurationError: there is no such build, or the project's coverage settings are unreadable.
        IncompleteDataError: the verdict forbids a result; the ledger is in the store.
        StoreError: the store failed.
    """
    combination = Combination(build, workdir, Transfers(workers, progress))
    return combination.finish(allow_partial=allow_partial)


class Combination:
    """Combines one build, at once or in advance while its shards deliver.

    Args:
        build: the build.
        workdir: a folder for the result and for downloads, which stay there.
        transfers: how to download.
        growing: the union of the data merged in advance, for merging more.
        narrate: called with the reason if nothing more can be merged in advance.

    Attributes:
        plan: the build's plan.
        source_dir: the project's sources as measured.
        workdir: the folder for the result.

    Raises:
        ConfigurationError: there is no such build, or the project's coverage settings are unreadable.
        StoreError: the store failed.
    """

    def __init__(
        self,
        build: StoredBuild,
        workdir: Path,
        transfers: Transfers,
        growing: Growing | None = None,
        narrate: Narrate | None = None,
    ) -> None:
        workdir.mkdir(parents=True, exist_ok=True)
        self._build = build
        self._commit = StoredCommit.of(build)
        self.workdir = workdir
        self._transfers = transfers
        self._growing = growing
        self._narrate = narrate
        self._refused: set[str] = set()  # damaged data files, by SHA-256: ``finish`` reports their faults
        self.plan = build.plan()
        self._known = [source.path for source in self.plan.sources]
        self._results = Results(build, transfers.workers)
        self.source_dir = Path(tempfile.mkdtemp(dir=workdir, prefix="sources-"))
        self._source_problems = _fetch_sources(build, self.plan, self.source_dir)
        self._settings = self._own_settings()

    def _own_settings(self) -> CoverageSettings:
        """Return what the plan says of the project's settings; plans of version 1 leave it to the sources."""
        if self.plan.coverage:
            return settings_in(self.plan.coverage.for_reports)
        return CoverageSettings() if self._source_problems else read_settings(self.source_dir)

    def advance(self) -> None:
        """Merge the results that have arrived since the last call, so that less is left for ``finish``.

        Raises:
            StoreError: the store failed; data merged until then is kept.
        """
        if self._growing is None or self._source_problems:
            return
        results = tuple(accepted(self.plan, self._results.read()[0]))
        known = self._growing.merged.keys() | self._refused
        fresh = [result for result in results if any(file.sha256 not in known for file in result.data_files)]
        if not fresh:
            return
        with tempfile.TemporaryDirectory(dir=self.workdir, prefix="data-") as folder:
            wanted, _ = promised(fresh, self._commit.data(), Path(folder))
            new = [data for data in wanted if _hash(data) not in known]
            while new and self._growing:  # it is discarded if something can't be merged in advance
                self._take_what_comes(new[:_AT_ONCE], results)
                del new[:_AT_ONCE]

    def _take_what_comes(self, files: Sequence[LocalData], results: Iterable[BatchResult]) -> None:
        """Download data files and merge them in advance; if the store fails for some, merge the others."""
        try:
            self._take(files, results)
        except StoreError:
            if len(files) == 1:
                raise
            failures = [failure for data in files if (failure := self._failure(data, results))]
            if failures:
                raise failures[0] from None

    def _failure(self, data: LocalData, results: Iterable[BatchResult]) -> StoreError | None:
        try:
            self._take([data], results)
        except StoreError as error:
            return error
        return None

    def _take(self, files: Sequence[LocalData], results: Iterable[BatchResult]) -> None:
        sound = fetch(self._commit, files, self._transfers)
        self._grow(files, sound, results)
        for data in files:
            data.path.unlink(missing_ok=True)

    def snapshot(self, out: Path) -> bool:
        """Write the data merged so far to the data file ``out``; return whether there is any."""
        if self._growing is None or not self._growing.merged:
            return False
        self._growing.copy(out)
        return True

    def finish(self, *, allow_partial: bool, notes: Iterable[str] = ()) -> Combined:
        """Combine the data that is there now, or report its faults.

        Uploads the ledger, the combined data as the build's and the commit's, and the new timings.

        Args:
            allow_partial: continue with the verdict *partial*; never with *conflicting*.
            notes: additional notes for the ledger.

        Raises:
            IncompleteDataError: the verdict forbids a result; the ledger is in the store.
            StoreError: the store failed.
        """
        build, plan = self._build, self.plan
        evidence, wanted = self._evidence()
        paths = chain.from_iterable(data.files for data in evidence.checked)
        resolution = self._resolved(paths, evidence.results)
        ledger = judge(evidence, resolution)
        ledger = replace(ledger, notes=(*ledger.notes, *notes))
        if not publishable(ledger, allow_partial=allow_partial):
            build.put_ledger(ledger)
            raise refusal(ledger, f"{build}")
        out = self.workdir / ".coverage"
        self._merge(evidence, wanted, resolution, out)
        self._keep_earlier(out)
        outcomes = outcomes_of(plan, evidence.results)
        remarks = update_timings(build.store, plan.branch, f"{plan.commit}/{plan.build}", outcomes)
        ledger = replace(ledger, combined=data_file(out, ".coverage"), notes=ledger.notes + remarks)
        build.put_combined(out)
        build.put_ledger(ledger)
        return Combined(ledger, out, self.source_dir, plan, outcomes)

    def _evidence(self) -> tuple[Evidence, Mapping[str, LocalData]]:
        """Return the evidence from the store, and the data files that the results promise, by name."""
        results, damaged = self._results.read()
        objects = self._commit.data()
        folder = Path(tempfile.mkdtemp(dir=self.workdir, prefix="data-"))
        wanted, unfit = promised(accepted(self.plan, results), objects, folder)
        ahead = dict(self._growing.merged) if self._growing else {}
        merged = [replace(ahead[_hash(data)], name=data.name) for data in wanted if _hash(data) in ahead]
        rest = [data for data in wanted if _hash(data) not in ahead]
        sound = fetch(self._commit, rest, self._transfers)
        self._grow(rest, sound, results)
        named = {stored_name(file) for result in results for file in result.data_files}
        alone = self._commit.planned() == (self.plan.build,)
        evidence = Evidence(
            plan=self.plan,
            results=results,
            checked=tuple(sorted([*merged, *sound.checked], key=_by_name)),
            problems=(*self._source_problems, *damaged, *unfit, *sound.problems),
            strays=tuple(sorted(objects.keys() - named))
            if alone
            else (),  # otherwise they may belong to another build
            settings=self._settings,
        )
        return evidence, {data.name: data for data in wanted}

    def _resolved(self, paths: Iterable[str], results: Iterable[BatchResult]) -> Resolution:
        roots = {result.root for result in accepted(self.plan, results)}
        return resolve(paths, known=self._known, roots=roots, rules=self._settings.rules)

    def _grow(self, files: Sequence[LocalData], sound: Sound, results: Iterable[BatchResult]) -> None:
        """Merge the sound ones of these files in advance, and remember the others."""
        if self._growing is None:
            return
        hashes = {data.name: _hash(data) for data in files}
        self._refused |= {hashes[problem.subject] for problem in sound.problems}
        paths = frozenset(chain.from_iterable(data.files for data in sound.checked))
        new = paths - self._growing.own_paths.keys()
        own = self._resolved(new, results).own
        try:
            self._growing.grow(
                {hashes[data.name]: data for data in sound.checked}, {path: own.get(path) for path in new}
            )
        except (UnfitError, IncompleteDataError, sqlite3.Error) as error:
            self._growing.discard()
            self._growing = None
            if self._narrate:
                self._narrate(f"results can't be merged in advance, only at the end: {error}")

    def _merge(
        self, evidence: Evidence, wanted: Mapping[str, LocalData], resolution: Resolution, out: Path
    ) -> None:
        """Write the union of the sound data files, using the data merged in advance if it is still right."""
        files = [wanted[data.name] for data in evidence.checked]
        if self._growing and self._growing.is_of({_hash(data) for data in files}, resolution.own):
            self._growing.finish(out)
            return
        gone = [data for data in files if not data.path.exists()]
        again = fetch(self._commit, gone, self._transfers)
        if again.problems:
            problem = again.problems[0]
            raise IncompleteDataError(
                f"{problem.subject} was sound before, but isn't now: {problem.detail}",
                hint="It was damaged in transit or replaced in the store: combine again.",
            )
        merge([data.path for data in files], out, own=resolution.own)
        if self._growing:
            self._growing.discard()

    def _keep_earlier(self, out: Path) -> None:
        """Replace ``out`` with the build's earlier combined data if it is the same, row by row.

        Merging in another order gives the same rows other ids, but reports record the hash of their data.
        """
        try:
            ledger = self._build.find_ledger()
            before = ledger.combined if ledger else None
            if before is None or before.sha256 == data_file(out, ".coverage").sha256:
                return
            earlier = out.with_name("earlier")
            self._build.download_combined(earlier)
        except (ObjectNotFoundError, IncompleteDataError):  # there is none to keep
            return
        sound = isinstance(check(LocalData(earlier, ".coverage", before)), CheckedData)
        if sound and same_data(earlier, out):
            earlier.replace(out)


def _fetch_sources(build: StoredBuild, plan: Plan, folder: Path) -> tuple[Problem, ...]:
    """Unpack the build's sources. Without them nothing can be mapped or shown, so no option skips this."""
    try:
        build.unpack_sources(plan, folder)
    except ObjectNotFoundError:
        return (Problem("conflict", build.keys.sources, "the plan lists sources, but the store has none"),)
    except IncompleteDataError as error:
        return (Problem("conflict", build.keys.sources, str(error)),)
    return ()


def _hash(data: LocalData) -> str:
    assert data.expected  # from a result
    return data.expected.sha256


def _by_name(data: CheckedData) -> str:
    return data.name
