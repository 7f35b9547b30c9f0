"""The text space that an encoder lives in: zero-shot classifier weights, logit scale and bias of its own text tower."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAME_SPACE = 0.999
"""Cosine of two classifier columns from which on they count as one: float16 towers agree to about 0.9999, two trainings far less."""


@dataclass(frozen=True, eq=False)
class TextSpace:
    """What one text tower makes of the class prompts.

    Args:
        class_weights: (D, C) zero-shot classifier weights; the columns are brought to length one.
        logit_scale: multiplier of the cosines, positive.
        logit_bias: added to every logit (SigLIP); it cancels in the argmax and in the softmax over classes.

    Raises:
        ValueError: for weights that are not finite columns with a direction, or a scale that is not positive.
    """

    class_weights: np.ndarray
    logit_scale: float = 100.0
    logit_bias: float = 0.0

    def __post_init__(self) -> None:
        weights = np.asarray(self.class_weights, dtype=np.float64)
        if weights.ndim != 2 or not np.isfinite(weights).all() or not weights.any(axis=0).all():
            raise ValueError(
                f"`class_weights` of a text tower must be finite columns of shape (D, C), got {weights.shape}; check the tower's weights."
            )
        if not (np.isfinite(self.logit_scale) and self.logit_scale > 0):
            raise ValueError(f"`logit_scale` must be positive, got {self.logit_scale}; take the model's own.")
        object.__setattr__(self, "class_weights", weights / np.linalg.norm(weights, axis=0))

    def matches(self, class_weights: np.ndarray | None) -> bool:
        """Tell whether other classifier weights are of the same space: equal columns, whatever their length.

        Args:
            class_weights: (D, C), or None.
        """
        if class_weights is None or class_weights.shape != self.class_weights.shape:
            return False
        other = np.asarray(class_weights, dtype=np.float64)
        return bool(np.einsum("dc,dc->c", self.class_weights, other / np.linalg.norm(other, axis=0)).min() > SAME_SPACE)
