"""The numbers a verdict rests on, each with its interval, without the images and models they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from diagnose.schema import Estimate, TextSpaceOf


@dataclass(frozen=True)
class Measured:
    """What was measured of the students of one loss and one training domain.

    Args:
        name: the loss, or the student's own name where the loss is unknown; with the domain where it was trained on several.
        loss: the loss's plain name.
        trained_on: "real", "synthetic", a mixture's name or None.
        target: "image", "text" or None where unknown.
        negatives: whether the loss has negatives, None where unknown.
        params: parameters of one student.
        students: their names, one for each seed.
        real: zero-shot accuracy on real images, in [0, 1].
        synthetic: zero-shot accuracy on held-out synthetic images, in [0, 1].
        excess: gap synthetic minus real, minus the teacher's own gap, in [-2, 2]; 0 where the student's gap is its teacher's.
        behind_real: teacher's accuracy minus the students' on real images.
        behind_synthetic: teacher's accuracy minus the students' on synthetic images.
        mostly_behind: `behind_synthetic` minus `excess`; above 0 the larger part of the loss on real images is not the domain's.
        scores: "<probe>/<score>" -> mean over the students.
        levels: factor -> level of the recipe, as far as known.
        text_space: whose texts `real` and `synthetic` are measured with: those of its own text tower, or its teacher's.
        teacher_space: accuracy on real images by the teacher's texts, of a student with texts of its own; None for others.
        linear_probe: accuracy on real images of a linear probe of its embeddings; None where none was fitted.
        worst_group: accuracy on real images of the group where it is lowest; None where the images have no groups.
        mean_group: mean of the groups' accuracies on real images; None likewise.
        other_space: whether it lives in another space than the texts that it is scored with; see `verdict.lives_elsewhere`.
    """

    name: str
    loss: str
    trained_on: str | None
    target: str | None
    negatives: bool | None
    params: int
    students: tuple[str, ...]
    real: Estimate
    synthetic: Estimate
    excess: Estimate
    behind_real: Estimate
    behind_synthetic: Estimate
    mostly_behind: Estimate
    scores: Mapping[str, Estimate] = field(default_factory=dict)
    levels: Mapping[str, str] = field(default_factory=dict)
    text_space: TextSpaceOf = "teacher"
    teacher_space: Estimate | None = None
    linear_probe: Estimate | None = None
    worst_group: Estimate | None = None
    mean_group: Estimate | None = None
    other_space: bool = False


@dataclass(frozen=True)
class Contrast:
    """What one property of the loss costs on real images: accuracy without it minus accuracy with it.

    Args:
        name: "text_target", "negatives", or "text_target_and_negatives" where the students cannot tell them apart.
        without: losses without the property.
        having: losses with it.
        points: cost in accuracy, in [-1, 1]; below 0 the property helps.
        share: part of what the students `of` are behind their teacher on real images; None without such students, or where they may
            be behind by nothing.
        on_real: the same cost among students trained on real images; None without such students.
        interaction: cost after training on synthetic images minus `on_real`; what the synthetic images add.
        of: loss whose gap `share` divides: the one with text target and negatives.
    """

    name: str
    without: tuple[str, ...]
    having: tuple[str, ...]
    points: Estimate
    share: Estimate | None = None
    on_real: Estimate | None = None
    interaction: Estimate | None = None
    of: str = ""


@dataclass(frozen=True)
class Part:
    """What one factor contributes to a gap: points, and its share of the gap; None where the gap may be zero."""

    name: str
    points: Estimate
    share: Estimate | None


@dataclass(frozen=True)
class Divided:
    """How far students are behind their teacher on real images, divided among the factors in which they differ from others.

    Args:
        start: students that differ from `end` in every factor.
        end: the students whose gap is divided.
        gap: teacher's accuracy minus that of `end` on real images.
        parts: one for each factor, or for factors that the students cannot tell apart.
        remainder: teacher's accuracy minus that of `start`: what no factor here explains. It and the parts add up to the gap.
        orders: orders of the factors of which every cell was trained.
        possible: orders that there are.
    """

    start: str
    end: str
    gap: Estimate
    parts: tuple[Part, ...]
    remainder: Part
    orders: int
    possible: int


@dataclass(frozen=True)
class LevelContrast:
    """Two kinds of students that differ in one factor alone.

    Args:
        factor: name of the factor.
        level: its level in `having`.
        against: its level in the others, the one that most students have.
        having: name of the students with `level`, as in `Measured`.
        other: name of the students with `against`.
        real: accuracy of `having` minus accuracy of `other` on real images.
        synthetic: the same on held-out synthetic images.
        trained_on: training set of both, or None where that is the factor.
        target: target of both, or None where that is the factor.
    """

    factor: str
    level: str
    against: str
    having: str
    other: str
    real: Estimate
    synthetic: Estimate
    trained_on: str | None = None
    target: str | None = None


@dataclass(frozen=True)
class Facts:
    """Everything the verdict rests on.

    Args:
        teacher: the teacher's name.
        teacher_real: its zero-shot accuracy on real images.
        teacher_synthetic: its zero-shot accuracy on synthetic images.
        teacher_gap: synthetic minus real.
        classes: number of classes C.
        measured: one entry for each loss and training domain, those trained on real images included.
        contrasts: costs of the properties of the loss, among students not trained on real images.
        text_minus_negatives: cost of the text target minus cost of the negatives.
        divisions: the gap of the loss with text target and negatives, divided among its properties, and with the training images too.
        levels: students that differ in one factor alone.
        gains: loss -> accuracy on real images when trained on real images minus when trained on synthetic images.
        missing: reasons why something could not be measured, each a sentence.
        largest_class: share of the largest class among the images, which an answer that never changes gets right; 1 / C where they are balanced.
    """

    teacher: str
    teacher_real: Estimate | None
    teacher_synthetic: Estimate | None
    teacher_gap: Estimate | None
    classes: int
    measured: tuple[Measured, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    text_minus_negatives: Estimate | None = None
    divisions: tuple[Divided, ...] = ()
    levels: tuple[LevelContrast, ...] = ()
    gains: Mapping[str, Estimate] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    largest_class: float = 0.0

    @property
    def chance(self) -> float:
        """Return the accuracy of the best answer that ignores the images."""
        return max(1 / self.classes, self.largest_class)

    def contrast(self, name: str) -> Contrast | None:
        """Return the contrast of this name, or None."""
        return next((item for item in self.contrasts if item.name == name), None)
