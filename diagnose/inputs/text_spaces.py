"""The text space of a student with two towers: its own class prompts, tokenizer, logit scale and bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from diagnose.inputs.subjects import Subject
from distill.models.encoder import Encoder
from distill.models.student import feature_width
from probes.text_space import TextSpace

SAME_TEXT = 1e-6
"""Largest difference of unit embeddings that float32 makes of one and the same text."""


def text_space_of(
    encoder: Encoder, class_names: Sequence[str], templates: Sequence[str], *, image_size: int, where: str
) -> TextSpace | None:
    """Embed the class prompts with a model's own text tower.

    Args:
        encoder: image side, with `text_tower` where the model has one.
        class_names: C names; none: nothing is embedded.
        templates: prompts for a model without its own.
        image_size: side of the images in pixels.
        where: what errors call the model.

    Returns:
        The text space, or None for a model without a text tower.

    Raises:
        ValueError: when the two towers differ in their dimension, or the texts have no embedding.
    """
    tower = encoder.text_tower
    if tower is None or not class_names:
        return None
    weights = tower.class_weights(class_names, templates).numpy()
    width = feature_width(encoder, image_size)
    if weights.shape[0] != width:
        raise ValueError(
            f"the two towers of {where} must have one dimension, got {width} for images and {weights.shape[0]} for texts; return projected embeddings."
        )
    if weights.shape[1] > 1 and np.ptp(weights, axis=1).max() < SAME_TEXT:
        raise ValueError(
            f"the text tower of {where} must tell class names apart, got one embedding for all of {list(class_names)[:3]}; check its tokenizer and weights."
        )
    return TextSpace(weights, tower.logit_scale, tower.logit_bias)


def in_own_space(subjects: Sequence[Subject], class_weights: np.ndarray | None) -> list[Subject]:
    """Keep the text space of those students whose class weights differ from the teacher's; the others live in the teacher's space.

    Args:
        subjects: students.
        class_weights: (D, C) of the teacher's texts, or None.
    """
    return [
        replace(subject, text_space=None) if subject.text_space is not None and subject.text_space.matches(class_weights) else subject
        for subject in subjects
    ]
