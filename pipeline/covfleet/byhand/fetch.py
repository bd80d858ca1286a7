"""Fetch a commit's data files for the plain tools: download, decompress and verify them.

Stock ``coverage combine`` skips a damaged file and can't notice a missing one. So this, too, is all or
nothing: no file appears in the folder before all of them are there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from covfleet.combine.gather import SIDE_FILES, Results, Transfers, promised
from covfleet.combine.gather import fetch as fetch_and_check
from covfleet.combine.ledger import accepted
from covfleet.combine.verify import LocalData, data_file
from covfleet.errors import ConfigurationError, IncompleteDataError
from covfleet.model import BatchResult, DataFile, Plan, Problem
from covfleet.store.build import StoredBuild
from covfleet.store.commit import StoredCommit
from covfleet.store.data_files import UnpackingError, unpack
from covfleet.store.keys import is_data_file_name
from covfleet.store.parallel import for_each

_NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Fetched:
    """The data files now in a folder; ``size_bytes`` is their total size."""

    files: int
    size_bytes: int
    new: int  # of ``files``: those that weren't there before


def fetch_build(build: StoredBuild, folder: Path, *, allow_partial: bool, workers: int) -> Fetched:
    """Fetch all data files of a build into ``folder`` and verify each against its result.

    Args:
        build: the build.
        folder: created if necessary; it may already contain some of the files.
        allow_partial: leave out missing and damaged files.
        workers: number of parallel transfers.

    Raises:
        ConfigurationError: there is no such build, or the folder contains other data files.
        IncompleteDataError: a batch, a result or a data file is missing or damaged; the folder is unchanged.
        StoreError: the store failed.
    """
    plan, commit = build.plan(), StoredCommit.of(build)
    found, damaged = Results(build, workers).read()
    results = tuple(accepted(plan, found))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".covfleet-fetch-", dir=folder) as scratch:
        wanted, unfit = promised(results, commit.data(), Path(scratch))
        present = _present(folder, wanted)
        missing = [data for data in wanted if data.name not in present]
        pairs = [(data.path, data.expected) for data in missing if data.expected]
        commit.receive(pairs, workers=workers)
        checked = for_each(_unpacked, missing, workers=os.cpu_count() or 1)
        torn = [problem for problem in checked if problem]
        problems = (*_missing(plan, results), *damaged, *unfit, *torn)
        if problems and not allow_partial:
            raise _refusal(str(build), problems)
        sound = [data for data, problem in zip(missing, checked, strict=True) if not problem]
        _move(sound, folder)
    there = present | {data.name for data in sound}
    sizes = [data.expected.size_bytes for data in wanted if data.expected and data.name in there]
    return Fetched(len(sizes), sum(sizes), len(sound))


def fetch_folder(commit: StoredCommit, folder: Path, *, workers: int) -> Fetched:
    """Fetch the data files of a commit without a plan into ``folder``; whether they are all is unknown.

    Raises:
        ConfigurationError: there are none, or the folder contains other data files.
        IncompleteDataError: one is damaged; the folder is unchanged.
        StoreError: the store failed.
    """
    names = [name for name in commit.plain_data() if not name.endswith(SIDE_FILES)]
    strange = [name for name in names if not is_data_file_name(name)]
    if not names:
        raise ConfigurationError(
            f"{commit.store.url} has no data files of commit {commit.name}",
            hint=f"covfleet looks for {commit.keys.data_prefix}*.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".covfleet-fetch-", dir=folder) as scratch:
        wanted = [
            LocalData(Path(scratch, f"{at:06}"), name)
            for at, name in enumerate(sorted(set(names) - set(strange)))
        ]
        _present(folder, wanted)
        sound = fetch_and_check(commit, wanted, Transfers(workers))
        problems = [Problem("corrupt", name, "isn't the name of a data file") for name in strange]
        if problems := [*problems, *sound.problems]:
            raise _refusal(f"commit {commit.name}", problems)
        size_bytes = sum(data.path.stat().st_size for data in wanted)
        _move(wanted, folder)
    return Fetched(len(wanted), size_bytes, len(wanted))


def _present(folder: Path, wanted: Sequence[LocalData]) -> frozenset[str]:
    """Return the names of the wanted files that are intact in the folder.

    Raises:
        ConfigurationError: it contains other data files, which stock coverage.py would mix in.
    """
    expected = {data.name: data.expected for data in wanted}
    there = sorted(folder.glob(".coverage.*"))
    foreign = [path.name for path in there if path.name not in expected]
    if foreign:
        more = f" and {len(foreign) - 1} more files, which are" if len(foreign) > 1 else ", which is"
        raise ConfigurationError(
            f"{folder} contains {foreign[0]}{more} not from this build",
            hint="Stock coverage combine would mix it in: use another folder, or remove it.",
        )
    return frozenset(path.name for path in there if _is_whole(path, expected[path.name]))


def _is_whole(path: Path, expected: DataFile | None) -> bool:
    if expected is None or path.stat().st_size != expected.size_bytes:
        return False
    return data_file(path, expected.name).sha256 == expected.sha256


def _unpacked(data: LocalData) -> Problem | None:
    """Decompress a downloaded file and compare it with its result; return the problem, if there is one."""
    assert data.expected
    try:
        unpack(data.path, data.expected)
    except UnpackingError as error:
        return Problem("corrupt", data.name, str(error))
    if not _is_whole(data.path, data.expected):
        return Problem("corrupt", data.name, "its size or SHA-256 differs from its result's")
    return None


def _missing(plan: Plan, results: Sequence[BatchResult]) -> list[Problem]:
    received = {result.batch for result in results}
    return [
        Problem("missing", f"batch {batch.id}", "has no sound result")
        for batch in plan.batches
        if batch.id not in received
    ]


def _refusal(whose: str, problems: Sequence[Problem]) -> IncompleteDataError:
    lines = [f"{problem.kind}: {problem.subject}: {problem.detail}" for problem in problems[:_NAMES_SHOWN]]
    if len(problems) > _NAMES_SHOWN:
        lines.append(f"and {len(problems) - _NAMES_SHOWN} more")
    return IncompleteDataError(
        "\n  ".join([f"the data of {whose} is incomplete:", *lines]),
        hint="Stock coverage combine would silently do without it; to accept that, use --allow-partial.",
    )


def _move(files: Sequence[LocalData], folder: Path) -> None:
    for data in files:
        data.path.replace(folder / data.name)
