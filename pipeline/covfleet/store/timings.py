"""The timing history: the duration of each test in earlier builds of a branch.

It only improves plans, so its faults are never fatal: a damaged object is reported and replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from covfleet.errors import IncompleteDataError, ObjectNotFoundError, PreconditionFailedError
from covfleet.model import Outcome, TestOutcome
from covfleet.ports.narration import Narrate
from covfleet.ports.object_store import ObjectStore
from covfleet.store.encoding import from_json, to_json
from covfleet.store.keys import timings

DEFAULT_BRANCHES = ("main", "master")
_TIMED: frozenset[Outcome] = frozenset({"passed", "failed", "skipped", "xfailed", "xpassed"})
_FORGOTTEN_AFTER = 20  # builds without the test
_BUILDS_REMEMBERED = 50
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Timings:
    """Expected durations in seconds by test id, and for how many builds a missing test has been missing."""

    seconds: dict[str, float] = field(default_factory=dict)
    unseen: dict[str, int] = field(default_factory=dict)  # only tests that the last build didn't have
    builds: tuple[str, ...] = ()  # the last builds counted, oldest first
    version: Literal[1] = 1


def read_timings(
    store: ObjectStore, branch: str, narrate: Narrate, fallback: Iterable[str] = DEFAULT_BRANCHES
) -> dict[str, float]:
    """Return expected durations in seconds by test id, from the branch or else the first fallback with any.

    Raises:
        StoreError: the store failed.
    """
    for name in dict.fromkeys((branch, *fallback)):
        known, _, notes = _load(store, name)
        for note in notes:
            narrate(note)
        if known.seconds:
            return known.seconds
    return {}


def update_timings(
    store: ObjectStore, branch: str, build: str, outcomes: Iterable[TestOutcome]
) -> tuple[str, ...]:
    """Add a build's durations to the branch's timings; repeated calls for the same build count once.

    Several builds may do so at once. Returns notes for humans: that the history was damaged and starts anew,
    or that other builds kept writing it, so that this build isn't in it.

    Raises:
        StoreError: the store failed.
    """
    durations = {outcome.id: outcome.duration_s for outcome in outcomes if outcome.outcome in _TIMED}
    for _ in range(_ATTEMPTS):
        known, etag, notes = _load(store, branch)
        if build in known.builds:  # also after a put whose response was lost
            return notes
        data = to_json(updated(known, build, durations))
        try:
            store.put(timings(branch), data, if_absent=etag is None, if_match=etag)
        except PreconditionFailedError:
            continue
        return notes
    return (f"the durations of this build aren't in {timings(branch)}: other builds kept writing it",)


def updated(known: Timings, build: str, durations: Mapping[str, float]) -> Timings:
    """Return the timings with one build added.

    A test's new value is the mean of its old value and the new duration, so each build halves the weight of
    the earlier ones. A test that is missing from 20 builds is forgotten; parts of a suite that run only now
    and then are kept.
    """
    unseen = {test: known.unseen.get(test, 0) + 1 for test in known.seconds if test not in durations}
    kept = {test: count for test, count in unseen.items() if count < _FORGOTTEN_AFTER}
    means = {test: (known.seconds.get(test, value) + value) / 2 for test, value in durations.items()}
    seconds = {test: known.seconds[test] for test in kept} | means
    return Timings(
        seconds={test: round(seconds[test], 4) for test in sorted(seconds)},
        unseen=dict(sorted(kept.items())),
        builds=(*known.builds, build)[-_BUILDS_REMEMBERED:],
    )


def _load(store: ObjectStore, branch: str) -> tuple[Timings, str | None, tuple[str, ...]]:
    """Return the timings, the etag for replacing them, and notes on their faults."""
    key = timings(branch)
    try:
        stored = store.get(key)
    except ObjectNotFoundError:
        return Timings(), None, ()
    try:
        return from_json(Timings, stored.data, name=key), stored.etag, ()
    except IncompleteDataError as error:
        return Timings(), stored.etag, (f"the timing history starts anew: {error}",)
