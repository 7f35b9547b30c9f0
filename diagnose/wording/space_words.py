"""Sentences on chance and on the text space that an accuracy is measured in."""

from __future__ import annotations

from diagnose.schema import Estimate
from diagnose.wording.numbers import in_percent
from diagnose.wording.words import bare_percent, percent, plain, upper_first

CAUSES = (
    "an input that is normalised otherwise, has other colours or another size than the model was trained with; class weights in another order than the "
    "class names; texts of another space than the images"
)
"""What makes a model that is sound look like chance."""

REMEDY = (
    "name its text tower (open_clip:NAME/TAG, hf:ID, or a Python function that returns both towers), give class weights of its own space "
    "(`class_weights` in students.toml), or fit a projection to the teacher"
)
"""What to do about a student that is scored with texts of another space."""


def chance_sentence(name: str, real: Estimate, chance: float, *, synthetic_above: bool) -> str:
    """Say that an encoder is not surely above chance on real images, and what the likely causes are.

    Args:
        name: the encoder, as a report names it.
        real: its accuracy on real images.
        chance: accuracy that takes no look at the images.
        synthetic_above: whether it is surely above chance on synthetic images, so that its input and its texts are sound.
    """
    sentence = f"{upper_first(name)} is right on {percent(real)} of real images, not surely more than chance ({in_percent(chance)} %)"
    if synthetic_above:
        return f"{sentence}; on synthetic images it surely is, so its input and its texts are read as they should be."
    return f"{sentence}. Likely causes: {CAUSES}. `synthgap check` says how a model was read."


def elsewhere_sentence(name: str, real: Estimate, probe: Estimate | None, chance: float) -> str:
    """Say that a student lives in another space than its teacher's texts, with the remedy.

    Args:
        name: the student, as a report names it.
        real: its accuracy on real images by the teacher's texts.
        probe: accuracy of a linear probe of its embeddings on real images.
        chance: accuracy that takes no look at the images.
    """
    readable = "" if probe is None else f", but a linear probe of its own embeddings on {bare_percent(probe)}"
    return (
        f"{upper_first(plain(name))} lives in another space than its teacher's texts: by these it is right on {bare_percent(real)} of real images, which is "
        f"no more than chance ({in_percent(chance)} %){readable}. So how far it is behind its teacher is not known: {REMEDY}."
    )


def own_texts(teacher_space: Estimate | None) -> str:
    """Say that a student is scored with its own texts, and what its teacher's texts give where the dimensions allow.

    Args:
        teacher_space: accuracy on real images by the teacher's texts, or None.
    """
    if teacher_space is None:
        return "It is scored with the texts of its own text tower."
    return f"It is scored with the texts of its own text tower; by its teacher's texts it is right on {bare_percent(teacher_space)} of real images."
