"""Combining a build: read, verify, judge, and only then merge and upload.

The ledger is uploaded whatever the verdict. Everything else in the store changes only if the result may be
published, so that a failed run leaves an earlier result alone, and a second run gives the same again.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from pipeline.builds import builds, read_plan
from pipeline.combine.contents import CheckedData
from pipeline.combine.gather import (
    Transfers,
    data_objects,
    fetch,
    packed_objects,
    promised,
    read_results,
)
from pipeline.combine.ledger import Evidence, accepted, judge, outcomes_of
from pipeline.combine.merge import merge
from pipeline.combine.paths import CoverageSettings, read_settings, resolve
from pipeline.combine.verify import data_file
from pipeline.data_files import stored_name
from pipeline.errors import IncompleteDataError, ObjectNotFoundError
from pipeline.history import update_timings
from pipeline.keys import BuildKeys
from pipeline.model import Ledger, Plan, Problem, TestOutcome, to_json
from pipeline.ports import ObjectStore, Progress
from pipeline.sources import unpack

_PROBLEMS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Combined:
    """One coverage result and what is known about it."""

    ledger: Ledger
    data_file: Path  # ".coverage", with paths relative to ``source_dir``
    source_dir: Path  # the project as it was measured
    plan: Plan | None  # None: a folder that other tools filled
    outcomes: tuple[TestOutcome, ...]  # in the order of the plan


def combine_build(
    store: ObjectStore,
    keys: BuildKeys,
    workdir: Path,
    *,
    allow_partial: bool,
    workers: int,
    progress: Progress | None = None,
) -> Combined:
    """Combine all data of a build, or say what is wrong with it.

    Uploads the ledger, the combined data as the build's and the commit's, and the new timings.

    Args:
        store: where the build lies.
        keys: the build's.
        workdir: a folder for the result and for what is downloaded, which stays there.
        allow_partial: go on with the verdict *partial*; never with *conflicting*.
        workers: parallel transfers.
        progress: called with (done, total) data files as they are downloaded.

    Raises:
        ConfigurationError: there is no such build, or the project's coverage settings are unreadable.
        IncompleteDataError: the verdict forbids a result; the ledger is in the store.
        StoreError: the store failed.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    plan = read_plan(store, keys)
    source_dir = Path(tempfile.mkdtemp(dir=workdir, prefix="sources-"))
    source_problems = _fetch_sources(store, keys, plan, source_dir)
    settings = CoverageSettings() if source_problems else read_settings(source_dir)
    evidence = _evidence(store, plan, workdir, Transfers(workers, progress))
    evidence = replace(evidence, problems=source_problems + evidence.problems, settings=settings)
    resolution = resolve(
        chain.from_iterable(data.files for data in evidence.checked),
        known=[source.path for source in plan.sources],
        roots={result.root for result in accepted(plan, evidence.results)},
        rules=settings.rules,
    )
    ledger = judge(evidence, resolution)
    if not publishable(ledger, allow_partial=allow_partial):
        store.put(keys.ledger, to_json(ledger), content_type="application/json")
        raise refusal(ledger, f"build {plan.build} of commit {plan.commit}")
    out = workdir / ".coverage"
    merge([data.path for data in evidence.checked], out, own=resolution.own)
    outcomes = outcomes_of(plan, evidence.results)
    notes = update_timings(store, plan.branch, f"{plan.commit}/{plan.build}", outcomes)
    ledger = replace(ledger, combined=data_file(out, ".coverage"), notes=ledger.notes + notes)
    for key in (keys.combined, keys.of_commit.combined):
        store.upload(out, key, content_type="application/vnd.sqlite3")
    store.put(keys.ledger, to_json(ledger), content_type="application/json")
    return Combined(ledger, out, source_dir, plan, outcomes)


def publishable(ledger: Ledger, *, allow_partial: bool) -> bool:
    """Say whether a result may be made of what this ledger describes."""
    return ledger.verdict in ("complete", "unverified") or (allow_partial and ledger.verdict == "partial")


def refusal(ledger: Ledger, what: str) -> IncompleteDataError:
    """Return the error that names the first problems and counts the others."""
    shown, more = ledger.problems[:_PROBLEMS_SHOWN], ledger.problems[_PROBLEMS_SHOWN:]
    lines = [f"the data of {what} is {ledger.verdict}: {_counted(ledger.problems)}"]
    lines += [f"  {problem.kind}: {problem.subject}: {problem.detail}" for problem in shown]
    if more:
        lines.append(f"  and {_counted(more)} more")
    return IncompleteDataError("\n".join(lines), hint=_hint(ledger))


def _counted(problems: Sequence[Problem]) -> str:
    counts = Counter(problem.kind for problem in problems)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


def _hint(ledger: Ledger) -> str:
    if ledger.verdict == "partial":
        return (
            "Run the missing shards again (`covfleet shard`), or publish what there is with --allow-partial."
        )
    return "The raw data is untouched in the store. Contradictory data can't be combined: start a new build."


def _fetch_sources(store: ObjectStore, keys: BuildKeys, plan: Plan, folder: Path) -> tuple[Problem, ...]:
    """Unpack the build's sources. Without them nothing can be mapped or shown: no option skips that."""
    archive = folder.with_suffix(".tar.zst")
    try:
        store.download(keys.sources, archive)
        unpack(archive, folder, plan.sources)
    except ObjectNotFoundError:
        return (Problem("conflict", keys.sources, "the plan names sources, but the store has none"),)
    except IncompleteDataError as error:
        return (Problem("conflict", keys.sources, str(error)),)
    return ()


def _evidence(store: ObjectStore, plan: Plan, workdir: Path, transfers: Transfers) -> Evidence:
    keys = BuildKeys(plan.commit, plan.build)
    results, damaged = read_results(store, keys, transfers.workers)
    objects = data_objects(store, keys.of_commit) | packed_objects(store, keys.of_commit)
    folder = Path(tempfile.mkdtemp(dir=workdir, prefix="data-"))
    wanted, unfit = promised(accepted(plan, results), objects, folder)
    sound = fetch(store, keys.of_commit, wanted, transfers)
    named = {stored_name(file) for result in results for file in result.data_files}
    alone = builds(store, keys.of_commit) == (plan.build,)
    return Evidence(
        plan=plan,
        results=results,
        checked=tuple(sorted(sound.checked, key=_by_name)),
        problems=(*damaged, *unfit, *sound.problems),
        strays=tuple(sorted(objects.keys() - named)) if alone else (),  # else they may be another build's
    )


def _by_name(data: CheckedData) -> str:
    return data.name
