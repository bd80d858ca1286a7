"""Plans of builds that were never collected: their data files are there already."""

from __future__ import annotations

from collections.abc import Sequence

from covfleet.model import Batch, Environment, Measurement, Plan, SourceFile


def planned(
    commit: str,
    build: str,
    batches: Sequence[Batch],
    *,
    sources: tuple[SourceFile, ...] = (),
    measurement: Measurement = Measurement(branch=False, contexts=False, core="ctrace"),  # noqa: B008 - frozen
) -> Plan:
    """Return a plan of these batches, all of them dealt to one shard."""
    return Plan(
        commit=commit,
        build=build,
        branch="main",
        created_at="2026-01-01T00:00:00+00:00",
        executor="process",
        image="",
        environment=Environment("3.11.7", "8.4.0", "7.17.3"),
        measurement=measurement,
        pytest_args=(),
        sources=sources,
        batches=tuple(batches),
        deals=(tuple(batch.id for batch in batches),),
    )
