"""The stage ``gate``: the build's coverage against the thresholds, in exact fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from covfleet.errors import BelowGateError, ConfigurationError, IncompleteDataError
from covfleet.model import GateRule, Totals, floor_percent
from covfleet.settings.schema import GateSettings
from covfleet.store.build import StoredBuild

_LEAST_DIGITS = 2


def evaluate(totals: Totals, settings: GateSettings) -> tuple[GateRule, ...]:
    """Return every threshold that is set with the build's figure.

    Shares are compared exactly. ``actual`` is rounded down, to no fewer decimals than ``wanted`` has, so it
    shows at least ``wanted`` if, and only if, the rule passed.

    Raises:
        ConfigurationError: there is a branch threshold, but the build measured statements only.
    """
    if settings.branch is not None and not totals.measures_branches:
        raise ConfigurationError(
            f"the gate wants {settings.branch}% of branches, but this build measured statements only",
            hint="Measure branches (--branch-coverage, or branch = true in the project's coverage "
            "configuration), or remove gate.branch.",
        )
    wanted = (
        ("total", settings.total, totals.total),
        ("line", settings.line, totals.line),
        ("branch", settings.branch, totals.branch),
    )
    return tuple(_rule(name, least, share) for name, least, share in wanted if least is not None)


def _rule(name: str, wanted: Decimal, share: Fraction) -> GateRule:
    exponent = wanted.as_tuple().exponent
    assert isinstance(exponent, int)  # settings take no infinity
    return GateRule(
        name=name,
        wanted=wanted,
        actual=floor_percent(share, max(_LEAST_DIGITS, -exponent)),
        passed=share * 100 >= Fraction(wanted),
    )


def check(rules: tuple[GateRule, ...]) -> None:
    """Raise ``BelowGateError`` if a rule failed; its message lists each one that did."""
    failed = [rule for rule in rules if not rule.passed]
    if failed:
        figures = "; ".join(f"{rule.name} {rule.actual}%, wanted {rule.wanted}%" for rule in failed)
        raise BelowGateError(
            f"coverage is below the gate: {figures}",
            hint="The summary names the least covered files; the thresholds stand in [tool.covfleet.gate].",
        )


def gate_build(build: StoredBuild, settings: GateSettings) -> tuple[GateRule, ...]:
    """Return the rules of a reported build, all of them passed.

    Raises:
        IncompleteDataError: the verdict is partial or conflicting, or see ``StoredBuild.reported``.
        ConfigurationError: see ``evaluate``.
        BelowGateError: a rule failed.
    """
    manifest, ledger = build.reported()
    if ledger.verdict in ("partial", "conflicting"):
        raise IncompleteDataError(
            f"the data of build {build.name} is {ledger.verdict}: no gate can pass on it",
            hint="The ledger names what is missing or contradictory; run those tests again.",
        )
    rules = evaluate(manifest.totals, settings)
    check(rules)
    return rules
