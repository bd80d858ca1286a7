"""Data files that were damaged, replaced or made to harm: each ends as a named problem before merging."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from covfleet.combine.contents import CheckedData, Paths
from covfleet.combine.verify import LocalData, check, data_file
from covfleet.model import Problem
from support.datafiles import DAMAGE, HOSTILE, tampered, write_data

NAME = ".coverage.host.pid1.Xabcdefx.H0123456789h"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data", {"": {"pkg/a.py": range(1, 400), "pkg/b.py": [1]}})


def problem_of(path: Path, expected: bool = False) -> Problem:
    verdict = check(LocalData(path, NAME, data_file(path, NAME) if expected else None))
    assert isinstance(verdict, Problem), f"{path} was accepted: {verdict}"
    assert (verdict.kind, verdict.subject) == ("corrupt", NAME)
    return verdict


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_bytes_are_refused_by_size_and_hash(good: Path, damage: str) -> None:
    expected = data_file(good, NAME)
    good.write_bytes(DAMAGE[damage](good.read_bytes()))
    verdict = check(LocalData(good, NAME, expected))
    assert isinstance(verdict, Problem)
    assert (verdict.kind, verdict.subject) == ("corrupt", NAME)
    assert "SHA-256" in verdict.detail or "bytes instead of" in verdict.detail


@pytest.mark.parametrize("damage", sorted(DAMAGE.keys() - {"flipped"}))
def test_damaged_bytes_are_refused_even_if_nobody_knows_their_hash(good: Path, damage: str) -> None:
    good.write_bytes(DAMAGE[damage](good.read_bytes()))
    problem_of(good)


@pytest.mark.parametrize(
    ("damage", "named"),
    [("html", "HTML"), ("compressed bomb", "zstd"), ("empty", "empty"), ("grown", "torn")],
)
def test_the_problem_says_what_the_bytes_look_like(good: Path, damage: str, named: str) -> None:
    good.write_bytes(DAMAGE[damage](good.read_bytes()))
    assert named in problem_of(good).detail


@pytest.mark.parametrize("trick", HOSTILE)
def test_a_hostile_database_is_refused_although_its_hash_is_right(
    good: Path, trick: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with little work: when that is used up, the problem has another name."""
    monkeypatch.setattr("covfleet.store.soundness._STEPS_AT_LEAST", 200_000)
    monkeypatch.setattr("covfleet.store.soundness._STEPS_BETWEEN_LOOKS", 1000)
    script, named = HOSTILE[trick]
    assert named in problem_of(tampered(good, script), expected=True).detail


def test_arcs_beyond_all_bounds_are_refused(tmp_path: Path) -> None:
    path = write_data(tmp_path / "data", {"": {"a.py": [(-1, 1), (1, 2**40)]}}, branch=True)
    assert "line numbers beyond" in problem_of(path).detail


def test_work_without_end_is_cut_off(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("covfleet.store.soundness._STEPS_AT_LEAST", 0)
    monkeypatch.setattr("covfleet.store.soundness._STEPS_PER_BYTE", 0)
    monkeypatch.setattr("covfleet.store.soundness._STEPS_BETWEEN_LOOKS", 10)
    assert "interrupted" in problem_of(good).detail


def test_no_flipped_bit_makes_verification_crash(good: Path) -> None:
    data = good.read_bytes()
    die = random.Random(2)
    for _ in range(300):
        at = die.randrange(len(data))
        good.write_bytes(data[:at] + bytes([data[at] ^ (1 << die.randrange(8))]) + data[at + 1 :])
        assert isinstance(check(LocalData(good, NAME)), CheckedData | Problem)


def test_a_journal_beside_the_file_is_not_rolled_back(good: Path) -> None:
    journal = good.with_name(good.name + "-journal")
    journal.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    before = good.read_bytes()
    assert isinstance(check(LocalData(good, NAME)), CheckedData)
    assert good.read_bytes() == before
    assert journal.exists()


def test_a_good_file_is_described(tmp_path: Path) -> None:
    path = write_data(
        tmp_path / "data",
        {"": {"a.py": [(-1, 1)]}, "t|run": {"/x/b.html": [(1, -1)]}},
        branch=True,
        touched=["c.py"],
        tracers={"/x/b.html": "django_coverage_plugin.DjangoTemplatePlugin"},
    )
    assert check(LocalData(path, NAME, data_file(path, NAME))) == CheckedData(
        path=path,
        name=NAME,
        branch=True,
        files=frozenset({"a.py", "/x/b.html", "c.py"}),
        executed=frozenset({"a.py", "/x/b.html"}),
        contexts=2,
        tracers=(("/x/b.html", "django_coverage_plugin.DjangoTemplatePlugin"),),
    )


def test_paths_are_a_set_like_any_other() -> None:
    paths = Paths(["b.py", "a.py", "b.py"])
    assert (list(paths), len(paths)) == (["a.py", "b.py"], 2)
    assert paths == {"a.py", "b.py"}
    assert paths != {"a.py", "c.py"}
    assert "a.py" in paths
    assert not {"a", "a.py ", "c.py", 1} & paths
    assert paths & {"b.py": 1}.keys() == {"b.py"}
    assert paths.isdisjoint(["c.py"])
    assert hash(paths) == hash(Paths(["a.py", "b.py"]))
    assert "" not in Paths()
