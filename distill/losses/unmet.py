"""Refuse a loss without what it needs, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping

from distill.losses.mix import find_loss


def refuse_unmet(student: str, weights: Mapping[str, float], *, text: str, text_tower: bool, classes: int, batch_size: int) -> None:
    """Check each loss of a mix against what the experiment has.

    Args:
        student: name in the config, for the message.
        weights: loss -> weight.
        text: what stands for an image in text losses.
        text_tower: whether the teacher can embed texts, rather than having given class weights only.
        classes: number of classes.
        batch_size: images of a batch.

    Raises:
        ValueError: naming the student, the loss, what it lacks and the remedy.
    """
    for name in weights:
        loss = find_loss(name)
        wants = f"`loss` {name} of {student} needs"
        if "text" in loss.needs and text != "prompt" and not text_tower:
            raise ValueError(
                f"{wants} the teacher's text tower for text = {text!r}, got a teacher without one; use text = 'prompt' or an image target."
            )
        over_classes = {"shares", "class_weights"} & set(loss.needs) or ("text" in loss.needs and loss.negatives and text == "prompt")
        if over_classes and classes < 2:
            raise ValueError(f"{wants} at least 2 classes, got {classes}; add classes or use a loss without them, such as l2.")
        if batch_size < loss.smallest_batch:
            raise ValueError(
                f"{wants} batches of at least {loss.smallest_batch} images, got {batch_size}; raise training.batch_size or add images."
            )
