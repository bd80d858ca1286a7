"""How much of merging is left when the last result arrives, if the others were merged as they came.

Each corpus is a build in a folder: results appear one after the other, the combiner merges each, and what it
does after the last one, until the result and its ledger are in the store, is what is left.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from pathlib import Path

from covfleet.adapters.folder.store import LocalStore
from covfleet.combine.build import combine_build
from covfleet.combine.same import same_data
from covfleet.store.build import StoredBuild
from covfleet.store.keys import CommitKeys
from covfleet.watch.follow import combining_ahead

from benchmarks.combine import CORPORA
from benchmarks.corpus import ROOT, Shape, write_corpus
from benchmarks.tail import BUILD, Commit, measured_in, store_build


def print_ahead(arguments: argparse.Namespace) -> None:
    """Print a line for each corpus; exit if merging ahead gives other data than merging at once."""
    print("| data files | merged as they came, CPU s | left after the last one, CPU s | share |")
    print("| --- " * 4 + "|")
    for name in arguments.corpus or CORPORA:
        shape = CORPORA[name]
        before_s, left_s = _measured(shape, arguments.corpora)
        share = left_s / (before_s + left_s)
        print(f"| {shape} | {before_s:.2f} | {left_s:.2f} | **{share:.1%}** |", flush=True)


def _measured(shape: Shape, corpora: Path) -> tuple[float, float]:
    corpus = write_corpus(shape, corpora)
    with tempfile.TemporaryDirectory(dir=corpora, prefix="ahead-") as folder:
        top = Path(folder)
        files = tuple(sorted(corpus.glob(".coverage.*")))
        commit = Commit("ahead", top / "project", files, contexts=False, agent_root=ROOT)
        _write_sources(commit)
        store, keys = LocalStore(top / "store"), CommitKeys(commit.name).build(BUILD)
        results = store_build(commit, top / "store")
        held_back = [
            (key, store.get(key).data) for key in sorted(info.key for info in store.list(keys.results))
        ]
        for key, _ in held_back:
            Path(store.url, key).unlink()
        workers = os.cpu_count() or 1
        began_s = _cpu_s()
        with combining_ahead(
            StoredBuild(store, keys), top / "work", top / "ahead", workers=workers, narrate=sys.exit
        ) as combination:
            for key, document in held_back:
                store.put(key, document)
                combination.advance()
            before_s = _cpu_s() - began_s
            results()
            combined = combination.finish(allow_partial=False)
            left_s = _cpu_s() - began_s - before_s
        Path(store.url, keys.ledger).unlink()  # or the earlier result would be kept
        at_once = combine_build(
            StoredBuild(store, keys), top / "at-once", allow_partial=False, workers=workers
        )
        if not same_data(combined.data_file, at_once.data_file):
            sys.exit(f"{shape}: merging ahead gave other data than merging at once")
    return before_s, left_s


def _write_sources(commit: Commit) -> None:
    for name in measured_in(commit.data_files):
        path = commit.root / Path(name).relative_to(commit.agent_root)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n", "utf-8")


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
