"""Decisions on single properties: which property of the loss costs accuracy, and what a contrast of one factor means; no words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from diagnose.judge.comparison import Side, compare, sign, surely_more
from diagnose.judge.verdict import MARGIN
from diagnose.schema import Estimate

Property = Literal["text_target", "negatives"]

ContrastMeaning = Literal["fits_synthetic", "worse_on_both", "worse_on_real", "better_on_both", "better_on_real", "unclear"]
"""What a change of one factor does, from its intervals on real and on synthetic images."""


@dataclass(frozen=True)
class PropertyCosts:
    """What the text target and the use of negatives cost on real images.

    Args:
        text_target: side of `MARGIN` on which the cost of the text target lies.
        negatives: the same of the negatives.
        larger: the property that surely costs more than the other; None where neither does.
    """

    text_target: Side
    negatives: Side
    larger: Property | None

    @property
    def blamed(self) -> tuple[Property, ...]:
        """Return the properties that surely cost more than `MARGIN`."""
        names: tuple[Property, ...] = ("text_target", "negatives")
        return tuple(name for name in names if getattr(self, name) == "above")


def judge_properties(text_target: Estimate, negatives: Estimate, text_minus_negatives: Estimate | None = None) -> PropertyCosts:
    """Decide which of the two properties of a loss costs accuracy on real images, and which costs more.

    Args:
        text_target: cost of the text target in accuracy on real images.
        negatives: cost of the use of negatives.
        text_minus_negatives: the first cost minus the second, paired over seeds and images. Reports of older versions lack it; the two
            intervals then decide by `surely_more`, which is careful since it takes the costs for independent.
    """
    return PropertyCosts(
        text_target=compare(text_target, MARGIN),
        negatives=compare(negatives, MARGIN),
        larger=_larger(text_target, negatives, text_minus_negatives),
    )


def _larger(text_target: Estimate, negatives: Estimate, text_minus_negatives: Estimate | None) -> Property | None:
    if text_minus_negatives is not None:
        sides: dict[Side, Property] = {"above": "text_target", "below": "negatives"}
        return sides.get(sign(text_minus_negatives))
    if surely_more(text_target, negatives):
        return "text_target"
    return "negatives" if surely_more(negatives, text_target) else None


def judge_contrast(real: Estimate, synthetic: Estimate) -> ContrastMeaning:
    """Decide what a change of one factor does.

    Args:
        real: change of accuracy on real images.
        synthetic: change of accuracy on held-out synthetic images.
    """
    on_real, on_synthetic = sign(real), sign(synthetic)
    if on_real == "below":
        meanings: dict[Side, ContrastMeaning] = {"above": "fits_synthetic", "below": "worse_on_both", "unclear": "worse_on_real"}
        return meanings[on_synthetic]
    if on_real == "above":
        return "better_on_both" if on_synthetic == "above" else "better_on_real"
    return "unclear"
