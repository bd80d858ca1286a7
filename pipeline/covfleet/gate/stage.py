"""The stage ``gate``: compare a build's coverage with the thresholds, as exact fractions."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

from coverage.exceptions import ConfigError
from coverage.results import display_covered, should_fail_under

from covfleet.errors import BelowGateError, ConfigurationError, IncompleteDataError
from covfleet.model import CoverageConfiguration, GateRule, Totals, floor_percent
from covfleet.settings.schema import GateSettings
from covfleet.store.build import StoredBuild

_LEAST_DIGITS = 2


def evaluate(totals: Totals, settings: GateSettings) -> tuple[GateRule, ...]:
    """Return a rule for every threshold in the settings, with the build's figure.

    Shares are compared exactly. ``actual`` is rounded down to at least as many decimals as ``wanted`` has, so
    it is at least ``wanted`` if, and only if, the rule passed.

    Raises:
        ConfigurationError: there is a branch threshold, but the build measured only statements.
    """
    if settings.branch is not None and not totals.measures_branches:
        raise ConfigurationError(
            f"the gate requires {settings.branch}% of branches, but this build measured only statements",
            hint="Measure branches (--branch-coverage, or branch = true in the project's coverage "
            "settings), or remove gate.branch.",
        )
    thresholds = (
        ("total", settings.total, totals.total),
        ("line", settings.line, totals.line),
        ("branch", settings.branch, totals.branch),
    )
    return tuple(_rule(name, least, share) for name, least, share in thresholds if least is not None)


def _rule(name: str, wanted: Decimal, share: Fraction) -> GateRule:
    return GateRule(
        name=name,
        wanted=wanted,
        actual=floor_percent(share, max(_LEAST_DIGITS, -_exponent(wanted))),
        passed=share * 100 >= Fraction(wanted),
    )


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)  # settings take no infinity
    return exponent


def own_rule(totals: Totals, configuration: CoverageConfiguration) -> GateRule | None:
    """Return the project's own ``fail_under`` with the build's figure, judged by coverage.py itself.

    coverage.py compares what it shows, rounded to ``precision``, and wants all of 100.

    Raises:
        ConfigurationError: coverage.py refuses the precision.
    """
    options = json.loads(configuration.for_reports)
    if not (wanted := options.get("report:fail_under")):
        return None
    threshold = Decimal(str(int(wanted) if wanted == int(wanted) else wanted))
    precision = options.get("report:precision", 0)
    covered = totals.covered_statements + totals.covered_branches
    units = totals.statements + totals.branches
    percent = 100.0 * covered / units if units else 100.0  # as coverage.results.Numbers has it
    try:
        return GateRule(
            name=configuration.fail_under_from,
            wanted=threshold,
            actual=Decimal(display_covered(percent, max(precision, -_exponent(threshold)))),
            passed=not should_fail_under(percent, wanted, precision),
        )
    except ConfigError as error:
        raise ConfigurationError(f"coverage.py can't judge fail_under: {error}") from error


def check(rules: tuple[GateRule, ...]) -> None:
    """Raise ``BelowGateError`` if any rule failed; the message lists all that did."""
    failed = [rule for rule in rules if not rule.passed]
    if failed:
        figures = "; ".join(f"{rule.name} {rule.actual}%, required {rule.wanted}%" for rule in failed)
        raise BelowGateError(
            f"coverage is below the gate: {figures}",
            hint="The summary names the least covered files; the thresholds are in [tool.covfleet.gate], "
            "or where the rule says.",
        )


def gate_build(build: StoredBuild, settings: GateSettings) -> tuple[GateRule, ...]:
    """Return the rules of a reported build, the project's own ``fail_under`` last, if all of them passed.

    Raises:
        IncompleteDataError: the verdict is partial or conflicting, or see ``StoredBuild.reported``.
        ConfigurationError: see ``evaluate``.
        BelowGateError: a rule failed.
    """
    manifest, ledger = build.reported()
    if ledger.verdict in ("partial", "conflicting"):
        raise IncompleteDataError(
            f"the data of build {build.name} is {ledger.verdict}: it can't pass the gate",
            hint="The ledger lists what is missing or contradictory; run those tests again.",
        )
    rules = evaluate(manifest.totals, settings)
    plan = build.find_plan()
    if plan and plan.coverage and not (plan.coverage.no_cov_on_fail and ledger.failures):
        own = own_rule(manifest.totals, plan.coverage)
        rules += (own,) if own else ()
    check(rules)
    return rules
