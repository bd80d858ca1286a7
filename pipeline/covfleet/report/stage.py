"""The stage ``report``: write a build's reports from its data in the store, here and to the store."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from covfleet.errors import IncompleteDataError
from covfleet.files import sha256_of
from covfleet.model import Ledger, Plan, ReportFile, ReportManifest, TestOutcome, Totals
from covfleet.ports.narration import Narrate
from covfleet.report.cache.branch import Shelf
from covfleet.report.write import ReportRequest, write_reports
from covfleet.store.build import StoredBuild
from covfleet.store.copies import Earlier
from covfleet.store.media import content_type
from covfleet.store.parallel import for_each


@dataclass(frozen=True, slots=True)
class ReportFolders:
    """Where reports are made on this machine."""

    workdir: Path  # an existing folder for temporary files
    out: Path  # the folder of reports, which is replaced
    cache: Path | None = None  # a folder with the cache for the next reports
    source_dir: Path | None = None  # exactly the project's listed sources, for a build without a plan


def report_build(
    build: StoredBuild, folders: ReportFolders, *, workers: int, narrate: Narrate
) -> tuple[Totals, Ledger]:
    """Write the reports of a combined build into ``folders.out`` and upload them; return totals and ledger.

    Parts for the same source and data are reused from the branch's last build, and files with the same
    content are copied within the store. ``narrate`` reports what can't be reused.

    Raises:
        IncompleteDataError: the build isn't combined, its data doesn't match the ledger, or a source is
            missing or can't be parsed.
        ConfigurationError: see ``write_reports``.
    """
    ledger = build.ledger()
    plan = _plan(build, ledger)
    with tempfile.TemporaryDirectory(prefix="report-", dir=folders.workdir) as temporary:
        scratch = Path(temporary)
        request = ReportRequest(
            data_file=_data_file(build, ledger, scratch / "data"),
            source_dir=folders.source_dir or _sources(build, plan, scratch),
            ledger=ledger,
            outcomes=_outcomes(build, plan, scratch / "results", workers),
            out=folders.out,
            contexts=plan is not None and plan.measurement.contexts,
            notes=_notes(plan),
            settings=plan.coverage.for_reports if plan and plan.coverage else "",
        )
        shelf = Shelf(build.store, ledger.branch, folders.cache, scratch, narrate)
        with shelf.open() as (cache, earlier):
            totals = write_reports(replace(request, cache=cache))
            created_at = plan.created_at if plan else build.combined_at()
            manifest = _manifest(build, ledger, created_at, totals, folders.out)
            _upload(build, manifest, folders.out, workers, earlier)
            shelf.keep(cache, ledger)
    if earlier.fault:
        narrate(f"all reports were uploaded, as the store can't copy them: {earlier.fault}")
    return totals, ledger


def _plan(build: StoredBuild, ledger: Ledger) -> Plan | None:
    """Return the plan; only a build that other tools filled has none, as its verdict shows."""
    return build.find_plan() if ledger.verdict == "unverified" else build.plan()


def _data_file(build: StoredBuild, ledger: Ledger, folder: Path) -> Path:
    """Fetch the combined data to a separate folder: coverage.py must find nothing to combine it with."""
    described = ledger.combined
    if described is None:
        raise IncompleteDataError(
            f"the ledger of build {build.name} has no combined data: its verdict is {ledger.verdict!r}",
            hint="Run `covfleet combine` again; --allow-partial combines what has arrived.",
        )
    folder.mkdir()
    path = folder / ".coverage"
    build.download_combined(path)
    found = sha256_of(path)
    if found != described.sha256:
        raise IncompleteDataError(
            f"{build.keys.combined} doesn't match the ledger: its SHA-256 is {found}, not {described.sha256}",
            hint="It is damaged or being combined right now: run `covfleet combine` again.",
        )
    return path


def _sources(build: StoredBuild, plan: Plan | None, scratch: Path) -> Path:
    if plan is None:
        raise IncompleteDataError(
            f"{build} has no plan, so the store doesn't have its sources",
            hint="Run `covfleet report` in the project's folder at that commit.",
        )
    folder = scratch / "sources"
    build.unpack_sources(plan, folder)
    return folder


def _outcomes(build: StoredBuild, plan: Plan | None, folder: Path, workers: int) -> tuple[TestOutcome, ...]:
    """Return the outcomes of all results in the order of the plan."""
    if plan is None:
        return ()
    results = build.results_in_order(plan, folder, workers)
    return tuple(outcome for result in results for outcome in result.outcomes)


def _notes(plan: Plan | None) -> tuple[str, ...]:
    own = ".".join(platform.python_version_tuple()[:2])
    measured = ".".join(plan.environment.python.split(".")[:2]) if plan else own
    told = plan.coverage.notes if plan and plan.coverage else ()
    if measured == own:
        return told
    note = (
        f"The tests ran on Python {measured}, but Python {own} parsed the sources: "
        "the possible branches of a line may differ between the two."
    )
    return (*told, note)


def _manifest(
    build: StoredBuild, ledger: Ledger, created_at: str, totals: Totals, out: Path
) -> ReportManifest:
    assert ledger.combined  # _data_file has refused any other
    return ReportManifest(
        commit=build.commit,
        build=build.name,
        branch=ledger.branch,
        created_at=created_at,
        verdict=ledger.verdict,
        totals=totals,
        data_sha256=ledger.combined.sha256,
        files=tuple(_described(out, path) for path in _files(out)),
    )


def _files(out: Path) -> Iterable[Path]:
    """Return the files to upload, except coverage.py's .gitignore, which would hide a site kept in git."""
    return (path for path in sorted(out.rglob("*")) if path.is_file() and path.name != ".gitignore")


def _described(out: Path, path: Path) -> ReportFile:
    return ReportFile(path.relative_to(out).as_posix(), path.stat().st_size, sha256_of(path))


def _upload(build: StoredBuild, manifest: ReportManifest, out: Path, workers: int, earlier: Earlier) -> None:
    def upload(file: ReportFile) -> None:
        key = build.keys.report(file.path)
        if not earlier.copy(file, key):
            build.store.upload(out / file.path, key, content_type=content_type(file.path))

    for_each(upload, manifest.files, workers=workers)
    build.put_manifest(manifest)
