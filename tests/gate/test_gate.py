"""The gate: exact at the boundary, honest in what it shows, closed to incomplete data."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from covfleet.adapters.folder.store import LocalStore
from covfleet.errors import BelowGateError, ConfigurationError, IncompleteDataError
from covfleet.gate.stage import check, evaluate, gate_build
from covfleet.model import DataFile, Ledger, ReportManifest, Totals, Verdict
from covfleet.settings.schema import GateSettings
from covfleet.store.build import StoredBuild
from covfleet.store.encoding import to_json
from covfleet.store.keys import BuildKeys
from hypothesis import assume, given
from hypothesis import strategies as st

KEYS = BuildKeys("c1", "b1")
TOTALS = Totals(
    files=1, statements=3, covered_statements=2, branches=4, covered_branches=3, measures_branches=True
)
LEDGER = Ledger(
    "c1", "b1", "main", "complete", 1, outcomes={"passed": 1}, combined=DataFile(".coverage", 1, "ab")
)
MANIFEST = ReportManifest("c1", "b1", "main", "2025-01-01T00:00:00+00:00", "complete", TOTALS, "ab", ())


def stored(folder: Path, ledger: Ledger = LEDGER, manifest: ReportManifest | None = MANIFEST) -> LocalStore:
    store = LocalStore(folder)
    store.put(KEYS.ledger, to_json(ledger))
    if manifest:
        store.put(KEYS.manifest, to_json(manifest))
    return store


@pytest.mark.parametrize("verdict", ["partial", "conflicting"])
def test_incomplete_data_passes_no_gate_not_even_one_without_thresholds(
    tmp_path: Path, verdict: Verdict
) -> None:
    store = stored(tmp_path, replace(LEDGER, verdict=verdict), replace(MANIFEST, verdict=verdict))
    with pytest.raises(IncompleteDataError, match=verdict) as caught:
        gate_build(StoredBuild(store, KEYS), GateSettings())
    assert caught.value.exit_code == 5


def test_a_build_without_reports_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncompleteDataError, match="no reports"):
        gate_build(StoredBuild(stored(tmp_path, manifest=None), KEYS), GateSettings())


def test_reports_of_other_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IncompleteDataError, match="other data"):
        gate_build(
            StoredBuild(stored(tmp_path, manifest=replace(MANIFEST, data_sha256="cd")), KEYS), GateSettings()
        )


def test_every_rule_that_failed_is_listed_with_its_figure(tmp_path: Path) -> None:
    settings = GateSettings(total=Decimal("71.43"), line=Decimal(66), branch=Decimal("99.999"))
    with pytest.raises(BelowGateError) as caught:
        gate_build(StoredBuild(stored(tmp_path), KEYS), settings)
    assert caught.value.exit_code == 4
    assert str(caught.value) == (
        "coverage is below the gate: total 71.42%, required 71.43%; branch 75.000%, required 99.999%"
    )


def test_a_build_that_passes_returns_its_rules(tmp_path: Path) -> None:
    rules = gate_build(
        StoredBuild(stored(tmp_path), KEYS), GateSettings(line=Decimal("66.66"), branch=Decimal(75))
    )
    assert [(rule.name, rule.passed, str(rule.actual)) for rule in rules] == [
        ("line", True, "66.66"),
        ("branch", True, "75.00"),
    ]


def test_a_branch_threshold_needs_branches() -> None:
    totals = Totals(files=1, statements=3, covered_statements=3)
    with pytest.raises(ConfigurationError, match="only statements"):
        evaluate(totals, GateSettings(branch=Decimal(50)))


def test_a_project_without_any_branch_passes_if_branches_were_measured() -> None:
    totals = Totals(files=1, statements=3, covered_statements=3, measures_branches=True)
    assert evaluate(totals, GateSettings(branch=Decimal(100)))[0].passed


@given(
    covered=st.integers(0, 10**9),
    missing=st.integers(0, 10**9),
    wanted=st.decimals(0, 100, allow_nan=False, places=None),
)
def test_the_figure_shown_reaches_the_threshold_exactly_when_the_rule_passes(
    covered: int, missing: int, wanted: Decimal
) -> None:
    assume(abs(wanted) >= Decimal("1e-30") or not wanted)
    totals = Totals(files=1, statements=covered + missing, covered_statements=covered)
    (rule,) = evaluate(totals, GateSettings(line=wanted))
    assert rule.passed == (totals.line * 100 >= Fraction(wanted))
    assert (rule.actual >= rule.wanted) == rule.passed
    assert Fraction(rule.actual) <= totals.line * 100


@given(whole=st.integers(1, 10**6), data=st.data())
def test_the_exact_boundary_passes_and_one_statement_less_fails(whole: int, data: st.DataObject) -> None:
    percent = data.draw(st.decimals(1, 100, places=2))
    least = -(-Fraction(percent) * whole // 100)  # rounded up: the fewest statements that reach it
    for covered, passes in ((int(least), True), (int(least) - 1, False)):
        totals = Totals(files=1, statements=whole, covered_statements=covered)
        (rule,) = evaluate(totals, GateSettings(line=percent))
        assert rule.passed is passes
        if passes:
            check((rule,))
        else:
            with pytest.raises(BelowGateError):
                check((rule,))
