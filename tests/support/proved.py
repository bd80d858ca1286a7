"""Reports with a cache of their own, and caches that hold nothing but the proof of the one pass."""

from __future__ import annotations

import contextlib
from pathlib import Path

from covfleet.report.cache.contents import ReportCache
from covfleet.report.cache.file import open_bundle, write_bundle
from covfleet.report.cache.keys import PROOF
from covfleet.report.rendering import Rendered, Rendering, render

from support.measured import Measured


def rendered(
    measured: Measured, out: Path, bundle: Path | None = None, processes: int | None = None
) -> Rendered:
    """Render into ``out``, with what the bundle holds, and leave there what the next report may use."""
    scratch = out.with_name(f"{out.name}.scratch")
    for folder in (out, scratch):
        folder.mkdir()
    found = open_bundle(bundle) if bundle and bundle.exists() else None
    with found or contextlib.nullcontext():
        cache = ReportCache([found] if found else [])
        made = render(
            Rendering(
                measured.data_file, measured.source_dir, out, scratch, False, "", "complete", processes, cache
            )
        )
        if bundle:
            cache.write(bundle.with_suffix(".new"))
    if bundle:
        bundle.with_suffix(".new").rename(bundle)
    return made


def proofs(bundle: Path) -> dict[str, bytes]:
    """Return the entries of a bundle that are proofs."""
    found = open_bundle(bundle)
    assert found
    with found:
        return {key: found.entry(key) or b"" for key in found.places if key.startswith(PROOF)}


def proved(measured: Measured, folder: Path) -> Path:
    """Return a bundle that holds the proof for a project, and nothing of its sources."""
    bundle = folder / "proved"
    assert rendered(measured, folder / "to-prove", bundle).proof.holds
    entries = proofs(bundle)
    assert entries
    write_bundle(bundle, [(key, 0, entry) for key, entry in entries.items()])
    return bundle
