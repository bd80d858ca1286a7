"""Report on a commit's folder that other tools filled: combine it and use the sources of this checkout."""

from __future__ import annotations

from pathlib import Path

from covfleet.combine.folder import combine_folder, project_of
from covfleet.combine.gather import Transfers
from covfleet.model import Checkout, Ledger, Totals
from covfleet.ports.narration import Narrate
from covfleet.report.cache.branch import cache_here
from covfleet.report.stage import ReportFolders
from covfleet.report.write import ReportRequest, write_reports
from covfleet.store.commit import StoredCommit
from covfleet.store.sources import manifest, pack, unpack


def report_folder(
    commit: StoredCommit,
    checkout: Checkout,
    folders: ReportFolders,
    *,
    contexts: bool,
    workers: int,
    narrate: Narrate,
) -> tuple[Totals, Ledger]:
    """Combine a commit's folder and write its reports to ``folders.out``; return totals and ledger.

    Raises:
        ConfigurationError, IncompleteDataError, StoreError: see ``combine_folder`` and ``write_reports``.
    """
    combined = combine_folder(
        commit,
        folders.workdir,
        project=project_of(checkout),
        allow_partial=False,
        transfers=Transfers(workers),
    )
    root, folder = Path(checkout.root), folders.workdir / "sources"
    sources = manifest(root, checkout.files)
    archive = folder.with_suffix(".tar.zst")
    pack(root, sources, archive)
    unpack(archive, folder, sources)
    assert folders.cache is not None
    with cache_here(folders.cache, narrate) as cache:
        totals = write_reports(
            ReportRequest(
                data_file=combined.data_file,
                source_dir=folder,
                ledger=combined.ledger,
                outcomes=combined.outcomes,
                out=folders.out,
                contexts=contexts,
                cache=cache,
            )
        )
    return totals, combined.ledger
