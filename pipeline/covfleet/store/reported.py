"""What the stages after ``report`` start from: a build's ledger and reports, which must belong together."""

from __future__ import annotations

from covfleet.errors import IncompleteDataError, ObjectNotFoundError
from covfleet.model import Ledger, ReportManifest
from covfleet.ports.object_store import ObjectStore
from covfleet.store.documents import from_json
from covfleet.store.keys import BuildKeys


def read_reported(store: ObjectStore, keys: BuildKeys) -> tuple[ReportManifest, Ledger]:
    """Return the manifest of a build's reports and the build's ledger.

    Raises:
        IncompleteDataError: the build has no ledger or no reports, or it was combined again since they
            were made.
    """
    try:
        ledger = from_json(Ledger, store.get(keys.ledger).data, name=keys.ledger)
        manifest = from_json(ReportManifest, store.get(keys.manifest).data, name=keys.manifest)
    except ObjectNotFoundError as error:
        raise IncompleteDataError(
            f"build {keys.build} of commit {keys.commit} has no reports",
            hint="Run covfleet combine and covfleet report for it first.",
        ) from error
    described = ledger.combined.sha256 if ledger.combined else ""
    if (described, ledger.verdict) != (manifest.data_sha256, manifest.verdict):
        raise IncompleteDataError(
            f"the reports of build {keys.build} were made from other data than its ledger describes",
            hint="It was combined again since: run covfleet report again.",
        )
    return manifest, ledger
