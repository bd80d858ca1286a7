"""Read a build's results and data files from the store, check each, and name each fault.

Damaged data raises no error here: it becomes a ``Problem``, so that all problems are reported together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from covfleet.combine.contents import CheckedData
from covfleet.combine.verify import LocalData, check, check_each
from covfleet.errors import IncompleteDataError
from covfleet.model import BatchResult, DataFile, Problem
from covfleet.ports.narration import Progress
from covfleet.ports.object_store import ObjectInfo
from covfleet.store.build import StoredBuild
from covfleet.store.commit import StoredCommit
from covfleet.store.data_files import LARGEST_BYTES, UnpackingError, stored_name, unpack
from covfleet.store.keys import is_data_file_name
from covfleet.store.parallel import for_each

SIDE_FILES = ("-journal", "-wal", "-shm")  # SQLite's files beside one that is being written


@dataclass(frozen=True, slots=True)
class Transfers:
    """The options of transfers: how many at a time, and a progress callback."""

    workers: int
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Sound:
    """The data files that passed the checks, and the problems with the others."""

    checked: tuple[CheckedData, ...]
    problems: tuple[Problem, ...]


class Results:
    """The results of a build; each is read only once, as results never change."""

    def __init__(self, build: StoredBuild, workers: int) -> None:
        self._build = build
        self._workers = workers
        self._read: dict[tuple[str, str], BatchResult | Problem] = {}  # by key and etag

    def read(self) -> tuple[tuple[BatchResult, ...], tuple[Problem, ...]]:
        """Return all readable results, sorted by key, and the problems with the others."""
        present = sorted((info.key, info.etag) for info in self._build.result_objects())
        new = [name for name in present if name not in self._read]
        found = for_each(lambda name: self._result(name[0]), new, workers=self._workers)
        self._read |= zip(new, found, strict=True)
        results = [self._read[name] for name in present]
        return (
            tuple(result for result in results if isinstance(result, BatchResult)),
            tuple(result for result in results if isinstance(result, Problem)),
        )

    def _result(self, key: str) -> BatchResult | Problem:
        try:
            result = self._build.read_result(key)
        except IncompleteDataError as error:
            return Problem("corrupt", key, str(error))
        if key != f"{self._build.keys.results}{result.batch}.json":
            return Problem("conflict", key, f"is the result of batch {result.batch}")
        return result


def fetch(commit: StoredCommit, files: Iterable[LocalData], transfers: Transfers) -> Sound:
    """Download data files and check each."""
    wanted = tuple(files)
    stored = [(data.path, data.expected or DataFile(data.name, 0, "")) for data in wanted]
    commit.receive(stored, workers=transfers.workers, progress=transfers.progress)
    checked = check_each(_unpacked_and_checked, wanted)
    return Sound(
        tuple(data for data in checked if isinstance(data, CheckedData)),
        tuple(data for data in checked if isinstance(data, Problem)),
    )


def _unpacked_and_checked(data: LocalData) -> CheckedData | Problem:
    try:
        if data.expected:
            unpack(data.path, data.expected)
    except UnpackingError as error:
        return Problem("corrupt", data.name, str(error))
    return check(data)


def promised(
    results: Iterable[BatchResult], objects: dict[str, ObjectInfo], folder: Path
) -> tuple[Sequence[LocalData], Sequence[Problem]]:
    """Decide which data files to download, and name those that are missing or have another size.

    Local names are numbers: a name from the store never becomes a path, and SQLite never finds a journal
    beside a file.
    """
    files: dict[str, DataFile] = {}
    wanted: list[LocalData] = []
    problems: list[Problem] = []
    for result in results:
        for file in result.data_files:
            if files.setdefault(file.name, file) is not file:
                continue  # the ledger compares them
            if problem := _unfit(file, objects.get(stored_name(file)), result):
                problems.append(problem)
            else:
                wanted.append(LocalData(folder / f"{len(wanted):06}", file.name, file))
    return wanted, problems


def _unfit(file: DataFile, info: ObjectInfo | None, result: BatchResult) -> Problem | None:
    where = f"named in the result of batch {result.batch} by shard {result.shard}"
    if not is_data_file_name(file.name) or file.name.endswith(SIDE_FILES):
        return Problem("corrupt", file.name, f"isn't the name of a data file, {where}")
    if info is None:
        return Problem("missing", file.name, f"isn't in the store, {where}")
    if info.size_bytes != file.object_bytes:
        detail = f"has {info.size_bytes} bytes in the store instead of {file.object_bytes}, {where}"
        return Problem("corrupt", file.name, detail)
    if file.size_bytes > LARGEST_BYTES:
        return Problem("corrupt", file.name, f"would decompress to {file.size_bytes} bytes, {where}")
    return None
