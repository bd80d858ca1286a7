"""Grades and how they wander."""

import pytest

from rating import Grade, grade, migrated
from rating.grades import transition_matrix


@pytest.mark.parametrize(
    ("score", "letter"), [(100, "AAA"), (90, "AAA"), (89, "AA"), (55, "BBB"), (20, "B"), (19, "D"), (0, "D")]
)
def test_scores_have_letters(score, letter):
    assert grade(score) is Grade[letter]


@pytest.mark.parametrize("score", [-1, 101])
def test_a_score_out_of_range_is_refused(score):
    with pytest.raises(ValueError, match="between"):
        grade(score)


def test_pension_funds_stop_at_bbb():
    assert [letter.name for letter in Grade if letter.is_investment] == ["AAA", "AA", "A", "BBB"]


def test_default_grows_likelier_with_every_step():
    chances = [letter.default_probability for letter in Grade]
    assert chances == sorted(chances)
    assert chances[-1] == 1


@pytest.mark.parametrize("stickiness", [0, 0.5, 0.9, 1])
def test_every_row_of_the_matrix_adds_up(stickiness):
    for row in transition_matrix(stickiness):
        assert sum(row) == pytest.approx(1)


def test_a_stickiness_that_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="probability"):
        transition_matrix(1.5)


def test_the_defaulted_stay_defaulted():
    assert migrated(Grade.D, 10)[Grade.D] == 1


@pytest.mark.parametrize("start", list(Grade)[:-1])
def test_in_the_long_run_everyone_defaults(start):
    assert migrated(start, 4000)[Grade.D] == pytest.approx(1, abs=0.01)
