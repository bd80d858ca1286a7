"""List the builds of a commit with their progress, and choose one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from covfleet.errors import ConfigurationError, IncompleteDataError
from covfleet.model import Verdict
from covfleet.store.build import StoredBuild
from covfleet.store.commit import StoredCommit
from covfleet.store.parallel import for_each
from covfleet.store.status import ENDED, batches_done

_NAMES_SHOWN = 10
_SHORTEST_ABBREVIATION = 7


@dataclass(frozen=True, slots=True)
class BuildSummary:
    """A line in the list of a commit's builds. Without ``damage``, ``created_at`` is the plan's."""

    build: str
    created_at: str = ""  # ISO 8601, UTC, by the clock of the machine that planned
    branch: str = ""
    batches: int = 0
    batches_done: int = 0
    open_shards: tuple[int, ...] = ()  # started but never reported their end: running, or dead
    verdict: Verdict | None = None  # of the last combine; None: never combined
    damage: str = ""  # of its plan or ledger; empty: none

    @property
    def complete(self) -> bool:
        """Whether every batch has a result; the results themselves are unchecked."""
        return bool(self.created_at) and self.batches_done >= self.batches


def list_builds(commit: StoredCommit, *, workers: int) -> tuple[BuildSummary, ...]:
    """Return all planned builds of a commit, newest first by their plans' clocks, unreadable ones last.

    Raises:
        StoreError: the store failed. A damaged document is no error: its build's summary says so.
    """
    summaries = for_each(lambda name: _summary(commit.build(name)), commit.planned(), workers=workers)
    return tuple(sorted(summaries, key=_age, reverse=True))


def _age(summary: BuildSummary) -> tuple[bool, float, str]:
    when = datetime.fromisoformat(summary.created_at).timestamp() if summary.created_at else 0.0
    return bool(summary.created_at), when, summary.build


def _summary(build: StoredBuild) -> BuildSummary:
    try:
        plan = build.plan()
        datetime.fromisoformat(plan.created_at)
        beats = [build.find_heartbeat(shard) for shard in build.beats()]
    except (IncompleteDataError, ValueError) as error:
        return BuildSummary(build.name, damage=str(error))
    verdict, damage = _verdict(build)
    at_work = (held.value.shard for held in beats if held and held.value.state not in ENDED)
    return BuildSummary(
        build=build.name,
        created_at=plan.created_at,
        branch=plan.branch,
        batches=len(plan.batches),
        batches_done=batches_done(build, plan),
        open_shards=tuple(sorted(at_work)),
        verdict=verdict,
        damage=damage,
    )


def _verdict(build: StoredBuild) -> tuple[Verdict | None, str]:
    try:
        ledger = build.find_ledger()
    except IncompleteDataError as error:  # combining replaces it
        return None, str(error)
    return (ledger.verdict if ledger else None), ""


def choose(commit: StoredCommit, summaries: Sequence[BuildSummary], wanted: str | None) -> BuildSummary:
    """Return the build ``wanted``; else the newest complete one, or the newest if none is complete.

    Args:
        commit: the commit of the builds.
        summaries: the commit's builds, newest first.
        wanted: a build's id, or ``None``.

    Raises:
        ConfigurationError: the commit has no such build, or none at all.
    """
    if not summaries:
        raise no_build(commit)
    if wanted is None:
        return next((summary for summary in summaries if summary.complete), summaries[0])
    for summary in summaries:
        if summary.build == wanted:
            return summary
    raise ConfigurationError(
        f"{commit.store.url} has no build {wanted} of commit {commit.name}",
        hint=f"It has these builds of the commit: {', '.join(summary.build for summary in summaries)}.",
    )


def no_build(commit: StoredCommit) -> ConfigurationError:
    """Return an error that names the alternatives: data without a plan, or commits with a longer name."""
    message = f"{commit.store.url} has no build of commit {commit.name}"
    if commit.plain_data():
        return ConfigurationError(
            f"{message}, only data files from other tools",
            hint="Without a plan, combining needs the sources: run `covfleet combine` in a checkout of that "
            "commit.",
        )
    if len(commit.name) >= _SHORTEST_ABBREVIATION:
        commits = {info.key.partition("/")[0] for info in commit.store.list(commit.name)}
        longer = sorted(commits - {commit.name})
        if longer:
            return ConfigurationError(message, hint=f"Perhaps you meant {', '.join(longer[:_NAMES_SHOWN])}.")
    return ConfigurationError(
        message,
        hint="Give the commit's full name as the build used it, and check --store and --endpoint-url.",
    )
