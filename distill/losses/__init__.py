"""Every loss under one name: what it needs, what it pulls to, and whether it pushes apart."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from distill.losses.contrastive import image_image_contrastive, image_text_contrastive
from distill.losses.feature import l2, squared_l2


@dataclass(frozen=True)
class Batch:
    """What a loss may look at, all embeddings of unit length.

    Args:
        student: the student's embeddings of the views, shape (N, D), with gradient.
        teacher: the teacher's embeddings of the very same views, shape (N, D).
        text: the teacher's embeddings of each view's class prompt or caption, shape (N, D).
        logit_scale: multiplier of cosines in contrastive terms, a scalar; has a gradient where the temperature is learned.
    """

    student: Tensor
    teacher: Tensor
    text: Tensor
    logit_scale: Tensor


@dataclass(frozen=True)
class Loss:
    """A loss and the properties by which it is compared with others.

    Args:
        function: `Batch` -> scalar mean over the batch.
        target: what the student is pulled to, the teacher's `image` or `text` embedding.
        negatives: whether other items of the batch push.
    """

    function: Callable[[Batch], Tensor]
    target: Literal["image", "text"]
    negatives: bool


LOSSES: dict[str, Loss] = {
    "l2": Loss(lambda b: l2(b.student, b.teacher), "image", False),
    "squared_l2": Loss(lambda b: squared_l2(b.student, b.teacher), "image", False),
    "image_text_contrastive": Loss(lambda b: image_text_contrastive(b.student, b.text, logit_scale=b.logit_scale), "text", True),
    "image_image_contrastive": Loss(lambda b: image_image_contrastive(b.student, b.teacher, logit_scale=b.logit_scale), "image", True),
}


def check_names(names: Mapping[str, float]) -> None:
    """Refuse an empty mix, unknown names and weights that are not positive.

    Raises:
        ValueError: naming the loss, with the nearest known names.
    """
    if not names:
        raise ValueError(f"`loss` must name at least one loss, got none; choose from {sorted(LOSSES)}.")
    for name, weight in names.items():
        if name not in LOSSES:
            near = difflib.get_close_matches(name, LOSSES, n=3, cutoff=0.3) or sorted(LOSSES)
            raise ValueError(f"`loss` must be one of {sorted(LOSSES)}, got {name!r}; did you mean {' or '.join(near)}?")
        if not 0 < weight < float("inf"):
            raise ValueError(f"the weight of `loss` {name} must be a positive number, got {weight}; leave the loss out to switch it off.")


def mixed_loss(batch: Batch, weights: Mapping[str, float]) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum the weighted losses.

    Returns:
        The scalar to minimise, and each unweighted term by its name, detached, for the log.
    """
    terms = {name: LOSSES[name].function(batch) for name in weights}
    total = sum(weight * terms[name] for name, weight in weights.items())
    return total, {name: term.detach() for name, term in terms.items()}  # type: ignore[return-value]


def properties(weights: Mapping[str, float]) -> tuple[Literal["image", "text"] | None, bool | None]:
    """Tell the target and the negatives of a mix; None where its terms differ."""
    targets = {LOSSES[name].target for name in weights}
    negatives = {LOSSES[name].negatives for name in weights}
    return targets.pop() if len(targets) == 1 else None, negatives.pop() if len(negatives) == 1 else None
