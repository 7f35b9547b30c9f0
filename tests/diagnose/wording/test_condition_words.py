"""A condition's outcome in a sentence."""

from __future__ import annotations

from diagnose.judge.conditions import ConditionResult
from diagnose.wording.condition_words import condition_sentence

SCORES = tuple((f"s{number}", number / 10) for number in range(7))


def test_a_condition_that_held_names_the_students_it_holds_for() -> None:
    result = ConditionResult("gap > 0.4", SCORES, SCORES[5:])

    assert result.holds
    assert condition_sentence(result) == "gap > 0.4 held for s5 0.500, s6 0.600."


def test_one_that_did_not_hold_names_five_students_and_counts_the_others() -> None:
    result = ConditionResult("gap > 1", SCORES, ())

    assert not result.holds
    assert condition_sentence(result) == "gap > 1 did not hold for s0 0.000, s1 0.100, s2 0.200, s3 0.300, s4 0.400 and 2 more."
