"""`--fail-on` conditions over the scores of a report, such as `separability > 0.9`; they are parsed and never evaluated as code."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from diagnose.schema import Report
from probes.registry import probe_names
from probes.result import DiagnosticError

ALIASES: dict[str, str] = {
    "separability": "separability/linear/auc",
    "separability_within_class": "separability/within_class/linear/auc",
    "separability_excess": "separability/excess/linear/auc",
    "gap": "transfer/gap",
    "excess_gap": "transfer/excess_gap",
    "zero_shot_real": "transfer/zero_shot/real",
    "zero_shot_synthetic": "transfer/zero_shot/synthetic",
    "worst_class_real": "transfer/worst_class/real",
    "ece_real": "transfer/ece/real",
    "drift": "drift/cosine/difference",
    "cosine_real": "drift/cosine/real",
}
"""Short names -> `<probe>/<score>`."""

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}

_SHAPE = re.compile(r"^(?:(?P<students>[^:]+):)?\s*(?P<score>[A-Za-z0-9_./-]+)\s*(?P<operator>>=|<=|==|!=|>|<)\s*(?P<number>\S+)$")


@dataclass(frozen=True)
class Condition:
    """A parsed condition.

    Args:
        expression: as it was written.
        students: pattern of student names, `*` for all.
        score: `<probe>/<score>`, or a score's own name.
        operator: a key of `OPERATORS`.
        number: what the score is compared with, in the score's own unit (accuracies and gaps are shares: 0.05 is 5 points).
    """

    expression: str
    students: str
    score: str
    operator: str
    number: float


@dataclass(frozen=True)
class ConditionResult:
    """What became of a condition.

    Args:
        expression: as it was written.
        tested: student and score, for every student that the condition is about.
        holding: those of them for which it holds.
    """

    expression: str
    tested: tuple[tuple[str, float], ...]
    holding: tuple[tuple[str, float], ...]

    @property
    def holds(self) -> bool:
        """Return whether the condition holds for at least one student."""
        return bool(self.holding)


def parse(expression: str) -> Condition:
    """Parse `[students:] score operator number`.

    Args:
        expression: such as `separability > 0.9`, `l2*: gap >= 0.1` or `drift/cka/real < 0.5`.

    Raises:
        ValueError: when it does not have this shape or the number is not finite.
    """
    match = _SHAPE.match(expression.strip())
    if match is None:
        raise ValueError(
            f"`--fail-on` must be like 'separability > 0.9' or 'l2*: gap >= 0.1', got {expression!r}; "
            f"write a score, one of {' '.join(OPERATORS)} and a number."
        )
    try:
        number = float(match["number"])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"`--fail-on` must end in a number, got {match['number']!r} in {expression!r}; write it like 0.9.")
    score = ALIASES.get(match["score"], match["score"])
    return Condition(expression.strip(), (match["students"] or "*").strip(), score, match["operator"], number)


def foresee(expressions: Sequence[str], students: Sequence[str], probes: Sequence[str] | None = None) -> None:
    """Check before hours of probing that each condition can be tested: it names a student, and a score of a probe that will run.

    Args:
        expressions: conditions.
        students: names of the students that will be judged.
        probes: names of the probes that will run; None for all.

    Raises:
        ValueError: when it names no student or no such probe; the nearest student or the missing probe is named.
    """
    for condition in map(parse, expressions):
        _require_students(condition, students)
        probe = condition.score.partition("/")[0]
        if probes and probe in probe_names() and probe not in probes:
            raise ValueError(
                f"`--fail-on` must be about a probe that runs, got {condition.expression!r} with {', '.join(probes)} only; add --probe {probe}."
            )


def _require_students(condition: Condition, students: Sequence[str]) -> list[str]:
    matching = [student for student in students if fnmatchcase(student, condition.students)]
    if not matching:
        nearest = _nearest(condition.students, students)
        raise ValueError(f"`--fail-on` must name students of the report, got {condition.students!r}; nearest: {nearest}.")
    return matching


def check(report: Report, expressions: Sequence[str]) -> list[ConditionResult]:
    """Test each condition on all students of the report.

    Args:
        report: the report.
        expressions: conditions; each holds when it holds for at least one student it is about.

    Raises:
        ValueError: for a shape, student or score that does not exist; the nearest names are given.
        DiagnosticError: when the score is missing for a student because its probe failed.
    """
    return [_check(report, parse(expression)) for expression in expressions]


def _check(report: Report, condition: Condition) -> ConditionResult:
    students = _require_students(condition, [student.name for student in report.students])
    tested = tuple((student, _value(report, student, condition)) for student in students)
    holding = tuple((student, value) for student, value in tested if OPERATORS[condition.operator](value, condition.number))
    return ConditionResult(condition.expression, tested, holding)


def _value(report: Report, student: str, condition: Condition) -> float:
    records = [record for record in report.probes if record.subject == student]
    scores = {f"{record.probe}/{name}": score for record in records for name, score in record.scores.items()}
    names = [condition.score] if condition.score in scores else [name for name in scores if name.split("/", 1)[1] == condition.score]
    if len(names) == 1:
        return float(scores[names[0]]["value"])
    if len(names) > 1:
        raise ValueError(
            f"`--fail-on` must name one score, got {condition.score!r}, which may be {' or '.join(names)}; write the whole name."
        )
    failed = [record for record in records if record.status == "failed" and condition.score.startswith(f"{record.probe}/")]
    if failed:
        raise DiagnosticError(
            f"{condition.expression!r} must have a score to test, got none: {failed[0].probe} of {student} failed ({failed[0].error})"
        )
    known = [*ALIASES, *scores]
    raise ValueError(f"`--fail-on` must name a known score, got {condition.score!r}; nearest: {_nearest(condition.score, known)}.")


def _nearest(name: str, known: Sequence[str]) -> str:
    return ", ".join(difflib.get_close_matches(name, known, n=3, cutoff=0.0)) or "none"
