"""Which property of the loss costs accuracy on real images: contrasts between students, paired over seeds and images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from diagnose.facts import Contrast
from diagnose.groups import Group
from diagnose.intervals import Sample, estimate, share

Cell = tuple[str, bool]
"""(target, negatives): the four kinds of loss."""

PLAIN, PUSHED, TEXT, FULL = ("image", False), ("image", True), ("text", False), ("text", True)


def training_domain(groups: Sequence[Group]) -> str | None:
    """Choose the domain whose students are compared: synthetic if any, else the one that is not real with most students."""
    counts: dict[str | None, int] = {}
    for group in groups:
        if group.trained_on != "real":
            counts[group.trained_on] = counts.get(group.trained_on, 0) + len(group.subjects)
    return "synthetic" if "synthetic" in counts else max(counts, key=lambda name: counts[name], default=None)


def cells(groups: Sequence[Group], trained_on: str | None) -> dict[Cell, Group]:
    """Choose one loss for each kind: the most accurate on held-out synthetic images.

    The choice does not look at real images, so it cannot flatter the contrast that is then read there.
    """
    found: dict[Cell, Group] = {}
    for group in groups:
        first = group.subjects[0]
        if group.trained_on != trained_on or first.target is None or first.negatives is None:
            continue
        cell = (first.target, bool(first.negatives))
        if cell not in found or group.synthetic.parts[0].mean() > found[cell].synthetic.parts[0].mean():
            found[cell] = group
    return found


def contrasts(groups: Sequence[Group]) -> tuple[tuple[Contrast, ...], Sample | None]:
    """Divide the real-image accuracy among the properties of the loss.

    With all four kinds of loss the costs are Shapley values, the mean over both orders in which the properties may be added;
    with three kinds the one order that was trained; with two kinds the single difference.

    Args:
        groups: all groups, those trained on real images included: they give the same contrast as a control.

    Returns:
        The contrasts, and the sample of text target minus negatives where both are known.

    Source: Shapley (1953) for two players; the use is ours.
    """
    chosen = cells(groups, training_domain(groups))
    terms = _terms(chosen.keys())
    on_real = {group.loss: group for group in groups if group.trained_on == "real"}
    controls = {cell: on_real[group.loss] for cell, group in chosen.items() if group.loss in on_real}
    whole = _combine({PLAIN: 1.0, FULL: -1.0}, chosen) if PLAIN in chosen and FULL in chosen else None
    found = tuple(_contrast(name, weights, chosen, controls, whole) for name, weights in terms.items())
    both = None
    if "text_target" in terms and "negatives" in terms:
        both = _combine(terms["text_target"], chosen) - _combine(terms["negatives"], chosen)
    return found, both


def _terms(known: Iterable[Cell]) -> dict[str, dict[Cell, float]]:
    """Give each property's cost as weights over the kinds of loss: positive without the property, negative with it."""
    have = set(known)
    text = [pair for pair in ((PLAIN, TEXT), (PUSHED, FULL)) if set(pair) <= have]
    negatives = [pair for pair in ((PLAIN, PUSHED), (TEXT, FULL)) if set(pair) <= have]
    terms: dict[str, dict[Cell, float]] = {}
    for name, pairs in (("text_target", text), ("negatives", negatives)):
        weights: dict[Cell, float] = {}
        for without, having in pairs:
            weights[without] = weights.get(without, 0.0) + 1 / len(pairs)
            weights[having] = weights.get(having, 0.0) - 1 / len(pairs)
        if weights:
            terms[name] = weights
    if not terms and {PLAIN, FULL} <= have:
        terms["text_target_and_negatives"] = {PLAIN: 1.0, FULL: -1.0}
    return terms


def _combine(weights: Mapping[Cell, float], chosen: Mapping[Cell, Group]) -> Sample:
    terms = [weight * chosen[cell].real for cell, weight in weights.items() if weight]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _contrast(
    name: str, weights: Mapping[Cell, float], chosen: Mapping[Cell, Group], controls: Mapping[Cell, Group], whole: Sample | None
) -> Contrast:
    cost = _combine(weights, chosen)
    used = [cell for cell, weight in weights.items() if weight]
    control = _combine(weights, controls) if all(cell in controls for cell in used) else None
    return Contrast(
        name=name,
        without=tuple(chosen[cell].loss for cell in used if weights[cell] > 0),
        having=tuple(chosen[cell].loss for cell in used if weights[cell] < 0),
        points=estimate(cost, low=-1.0, high=1.0),
        share=share(cost, whole) if whole is not None and name != "text_target_and_negatives" else None,
        on_real=None if control is None else estimate(control, low=-1.0, high=1.0),
        interaction=None if control is None else estimate(cost - control, low=-2.0, high=2.0),
    )
