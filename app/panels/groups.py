"""Put students into groups (one loss on one training domain, over seeds) and average what their seeds measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from app.panels.wording import loss_name
from diagnose.judge.seeds import group_by_recipe
from diagnose.schema import Estimate, ProbeRecord, Report, Student
from diagnose.wording.numbers import format_value
from probes.result import Score


@dataclass(frozen=True)
class StudentGroup:
    """Students that differ only in their seed.

    Args:
        key: what the colour stands for: the loss, or the student's own name where no loss is given.
        label: its name for people.
        trained_on: `real`, `synthetic`, a mixture's name, or None.
        students: in the order of the report.
    """

    key: str
    label: str
    trained_on: str | None
    students: tuple[Student, ...]

    @property
    def title(self) -> str:
        """Name the group with what it was trained on."""
        return self.label if self.trained_on is None else f"{self.label}, trained on {self.trained_on}"

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the group's students."""
        return tuple(student.name for student in self.students)


def student_groups(report: Report) -> tuple[StudentGroup, ...]:
    """Return the report's students by loss and training domain, those trained on real images last, else in the report's order."""
    groups = [
        StudentGroup(
            students[0].loss or students[0].name, loss_name(students[0].loss) if students[0].loss else students[0].name, recipe[1], students
        )
        for recipe, students in group_by_recipe(report.students).items()
    ]
    return tuple(sorted(groups, key=lambda group: group.trained_on not in (None, "synthetic")))


def zero_shot(student: Student, domain: str) -> Estimate | None:
    """Return a student's zero-shot accuracy on `real` or `synthetic`.

    Args:
        student: the student of the report.
        domain: `real` or `synthetic`.
    """
    return student.zero_shot.real if domain == "real" else student.zero_shot.synthetic


@dataclass(frozen=True)
class SeedValues:
    """What a group's seeds measured: the mean, each seed's own estimate, and n.

    Args:
        seeds: one (value, low, high) a seed, each with its own 95 % interval over images.
        n: images behind each seed's estimate, or 0 where it is not known.
    """

    seeds: tuple[tuple[float, float, float], ...]
    n: int = 0

    @property
    def mean(self) -> float:
        """Average over seeds."""
        return fmean(value for value, _, _ in self.seeds)

    @property
    def span(self) -> tuple[float, float]:
        """Return the lowest and highest seed, or the one seed's own 95 % interval."""
        if len(self.seeds) == 1:
            return self.seeds[0][1:]
        values = [value for value, _, _ in self.seeds]
        return min(self.mean, *values), max(self.mean, *values)

    def words(self, *, percent: bool) -> str:
        """Write with interval and n, e.g. `81.2 % (3 seeds, lowest 80.9, highest 81.5; n = 5,000 images each)`."""
        low, high = self.span
        mean, low_text, high_text = (format_value(end, percent=percent) for end in (self.mean, low, high))
        n = f"n = {self.n:,} images" if self.n else "n not stored"
        if len(self.seeds) == 1:
            return f"{mean}{' %' if percent else ''} (95 % interval {low_text} to {high_text}; {n}, one seed)"
        return f"{mean}{' %' if percent else ''} ({len(self.seeds)} seeds, lowest {low_text}, highest {high_text}; {n} each)"


def collect_seeds(group: StudentGroup, read: Callable[[Student], Estimate | Score | None], n: int = 0) -> SeedValues | None:
    """Collect one number from each of a group's seeds.

    Args:
        group: students that differ in their seed alone.
        read: student -> the number, or None where it is not measured.
        n: images behind each number, where the number itself does not say.

    Returns:
        The seeds that have the number, or None where none has.
    """
    estimates = [estimate for student in group.students if (estimate := read(student)) is not None]
    if not estimates:
        return None
    count = next((estimate.n for estimate in estimates if isinstance(estimate, Estimate)), n)
    return SeedValues(tuple((estimate.value, estimate.low, estimate.high) for estimate in estimates), count)


def as_score(raw: Mapping[str, object] | None) -> Score | None:
    """Read a score that a report repeats; None where it is absent or not whole."""
    try:
        return Score(**raw) if raw else None  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def over_all(records: Mapping[str, ProbeRecord], names: Sequence[str], score: str) -> SeedValues | None:
    """Collect one score of several seeds; None where one that was measured lacks it, or none was measured.

    Args:
        records: student -> record.
        names: the seeds; those without a record are passed over.
        score: name of the score.
    """
    scores = [as_score(records[name].scores.get(score)) for name in names if name in records]
    known = [one for one in scores if one is not None]
    return SeedValues(tuple((one.value, one.low, one.high) for one in known)) if known and len(known) == len(scores) else None


def gap_of(group: StudentGroup) -> float:
    """Compute a group's accuracy on real minus on synthetic images, mean over seeds; 0 where one of them is not measured."""
    real, synthetic = (collect_seeds(group, lambda student, domain=domain: zero_shot(student, domain)) for domain in ("real", "synthetic"))  # type: ignore[misc]
    return 0.0 if real is None or synthetic is None else real.mean - synthetic.mean
