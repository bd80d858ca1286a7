"""Combine a commit's folder that other tools filled: s3cmd, a shell script, an older job.

There is no plan to compare with, so the verdict is *unverified*: each data file is sound, but some may be
missing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from covfleet.combine.build import Combined
from covfleet.combine.contents import CheckedData
from covfleet.combine.gather import SIDE_FILES, Transfers, fetch
from covfleet.combine.ledger import MOST_OUTSIDE, data_problems, outside_notes, verdict
from covfleet.combine.merge import merge
from covfleet.combine.paths import Resolution, read_settings, resolve
from covfleet.combine.refusal import publishable, refusal
from covfleet.combine.verify import LocalData, data_file
from covfleet.errors import ConfigurationError
from covfleet.model import Checkout, Ledger, Problem
from covfleet.ports.object_store import ObjectInfo
from covfleet.store.commit import StoredCommit
from covfleet.store.keys import is_data_file_name


@dataclass(frozen=True, slots=True)
class Project:
    """The measured project as it is on this machine."""

    root: Path
    files: Collection[str]  # relative paths of its files
    branch: str = ""


def project_of(checkout: Checkout) -> Project:
    """Return the project in a checkout."""
    return Project(Path(checkout.root), checkout.files, checkout.branch)


def combine_folder(
    commit: StoredCommit,
    workdir: Path,
    *,
    project: Project,
    allow_partial: bool,
    transfers: Transfers,
) -> Combined:
    """Combine every ``.coverage.*`` of a commit's folder that has no planned builds.

    Uploads the result as the commit's. The ledger is only returned, as it would belong to a build.

    Args:
        commit: the commit of the folder.
        workdir: a folder for the result and for downloads, which stay there.
        project: the project whose files the result may contain, with its own ``[paths]``.
        allow_partial: leave damaged files out; the verdict is then *partial*.
        transfers: how to download.

    Raises:
        ConfigurationError: the folder has no data files, or builds with a plan; or the project's coverage
            settings are unreadable.
        IncompleteDataError: a file is damaged and must not be left out, or files contradict each other.
        StoreError: the store failed.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    objects = _objects(commit)
    folder = Path(tempfile.mkdtemp(dir=workdir, prefix="data-"))
    foreign = tuple(_unusable(objects))
    usable = sorted(objects.keys() - {problem.subject for problem in foreign})
    sound = fetch(
        commit,
        (LocalData(folder / f"{at:06}", name) for at, name in enumerate(usable)),
        transfers,
    )
    settings = read_settings(project.root)
    resolution = resolve(
        chain.from_iterable(data.files for data in sound.checked),
        known=project.files,
        roots=[str(project.root.resolve())],
        rules=settings.rules,
    )
    problems = (*foreign, *sound.problems, *data_problems(sound.checked, resolution, settings))
    problems += tuple(_mixture(sound.checked))
    ledger = _ledger(commit.name, project, problems, sound.checked, resolution)
    if not publishable(ledger, allow_partial=allow_partial):
        raise refusal(ledger, f"commit {commit.name}")
    out = workdir / ".coverage"
    merge([data.path for data in sound.checked], out, own=resolution.own)
    commit.put_combined(out)
    ledger = replace(ledger, combined=data_file(out, ".coverage"))
    return Combined(ledger, out, project.root, None, ())


def _objects(commit: StoredCommit) -> Mapping[str, ObjectInfo]:
    if planned := commit.planned():
        raise ConfigurationError(
            f"commit {commit.name} has builds with a plan, and their data must not be mixed",
            hint=f"Combine one of them with --build: {', '.join(planned)}",
        )
    objects = commit.plain_data()
    if not objects:
        raise ConfigurationError(
            f"{commit.store.url} has no data files of commit {commit.name}",
            hint=f"covfleet looks for {commit.keys.data_prefix}*.",
        )
    return objects


def _unusable(objects: Mapping[str, ObjectInfo]) -> Iterator[Problem]:
    for name in objects:
        if name.endswith(SIDE_FILES):
            yield Problem("corrupt", name, "is SQLite's: the data file beside it was copied during a write")
        elif not is_data_file_name(name):
            yield Problem("corrupt", name, "isn't a name that coverage.py gives to a data file")


def _mixture(checked: Iterable[CheckedData]) -> Iterator[Problem]:
    first = {data.branch: data for data in reversed(tuple(checked)) if data.branch is not None}
    if len(first) > 1:
        yield Problem(
            "conflict", first[True].name, f"contains branch data, but {first[False].name} statement data"
        )


def _ledger(
    commit: str,
    project: Project,
    problems: Iterable[Problem],
    checked: Iterable[CheckedData],
    resolution: Resolution,
) -> Ledger:
    named = tuple(sorted(set(problems), key=lambda problem: (problem.kind, problem.subject, problem.detail)))
    return Ledger(
        commit=commit,
        build="",
        branch=project.branch,
        verdict=verdict(named) if named else "unverified",
        tests_planned=0,
        problems=named,
        notes=(
            "combined without a plan: some data files may be missing",
            *outside_notes(resolution, project.files),
        ),
        data_files=tuple(data_file(data.path, data.name) for data in checked),
        outside=resolution.outside[:MOST_OUTSIDE],
    )
