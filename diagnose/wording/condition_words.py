"""The outcome of a `--fail-on` condition in one sentence."""

from __future__ import annotations

from diagnose.judge.conditions import ConditionResult
from diagnose.wording.numbers import format_number

MOST_STUDENTS = 5
"""Students that are named with their scores; the others are counted."""


def condition_sentence(result: ConditionResult) -> str:
    """Write whether a condition held, and for which students with which scores."""
    scores = result.holding or result.tested
    named = ", ".join(f"{student} {format_number(value, 3)}" for student, value in scores[:MOST_STUDENTS])
    others = f" and {len(scores) - MOST_STUDENTS} more" if len(scores) > MOST_STUDENTS else ""
    return f"{result.expression} {'held' if result.holds else 'did not hold'} for {named}{others}."
