"""Students that differ in their seed alone: the same loss on the same training domain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar


class Trained(Protocol):
    """A student as far as grouping asks: a `Subject` of a diagnosis, or a `Student` of a report."""

    @property
    def name(self) -> str:
        """Return the student's own name."""

    @property
    def loss(self) -> str | None:
        """Return the name of its loss, None where it is unknown."""

    @property
    def trained_on(self) -> str | None:
        """Return its training domain, None where it is unknown."""


TrainedT = TypeVar("TrainedT", bound=Trained)
Recipe = tuple[str, str | None]
"""Name of the loss, or the student's own where it is unknown; and the training domain."""


def group_by_recipe(students: Iterable[TrainedT]) -> dict[Recipe, tuple[TrainedT, ...]]:
    """Return students by loss and training domain, groups and members in the order they are met."""
    groups: dict[Recipe, list[TrainedT]] = {}
    for student in students:
        groups.setdefault((student.loss or student.name, student.trained_on), []).append(student)
    return {recipe: tuple(members) for recipe, members in groups.items()}
