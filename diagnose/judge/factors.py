"""Which property of the loss costs accuracy on real images: the gap divided, by contrasts paired over seeds and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from diagnose.judge.contrasts import centre
from diagnose.judge.facts import Contrast, Divided, Part
from diagnose.judge.groups import Group
from diagnose.judge.intervals import Sample, estimate, share
from diagnose.judge.shapley import Coalition, divide
from diagnose.schema import Estimate

TEXT_TARGET, NEGATIVES, SYNTHETIC = "text_target", "negatives", "synthetic_images"

PLAIN: Coalition = frozenset()
PUSHED: Coalition = frozenset({NEGATIVES})
TEXT: Coalition = frozenset({TEXT_TARGET})
FULL: Coalition = frozenset({TEXT_TARGET, NEGATIVES})
"""The four kinds of loss: image target without negatives, with them, text target without, with them."""


def training_domain(groups: Sequence[Group]) -> str | None:
    """Return the domain whose students are compared: synthetic if any, else the one with most students that is not real."""
    counts: dict[str | None, int] = {}
    for group in groups:
        if group.trained_on != "real":
            counts[group.trained_on] = counts.get(group.trained_on, 0) + len(group.subjects)
    return "synthetic" if "synthetic" in counts else max(counts, key=lambda name: counts[name], default=None)


def cells(groups: Sequence[Group], trained_on: str | None) -> dict[Coalition, Group]:
    """Choose one loss for each of the four kinds, such that they differ in nothing but the kind.

    Among the levels of the other factors (temperature, hard or soft targets, texts, ...) those are taken at which most kinds were
    trained, then those nearest to the middle of the grid. Of several losses that remain for one kind the most accurate on
    held-out synthetic images stands for it. The choice does not look at real images, so it cannot flatter the contrast read there.

    Args:
        groups: all groups.
        trained_on: training domain of the groups that are used.

    Returns:
        Kind of loss -> its group; empty without a usable group.
    """
    usable = [group for group in groups if group.trained_on == trained_on and _kind(group) is not None]
    if not usable:
        return {}
    middle = centre(usable)
    choices = [_chosen(usable, _others(group)) for group in usable]
    scores = [
        (len(choice), sum(1 if middle[factor] == level else -1 for factor, level in _others(group).items()))
        for group, choice in zip(usable, choices, strict=True)
    ]
    return choices[scores.index(max(scores))]


def _kind(group: Group) -> Coalition | None:
    target, negatives = group.levels.get("target"), group.levels.get("negatives")
    if target not in ("image", "text") or negatives not in ("yes", "no"):
        return None
    return frozenset(({TEXT_TARGET} if target == "text" else set()) | ({NEGATIVES} if negatives == "yes" else set()))


def _others(group: Group) -> dict[str, str]:
    return {factor: level for factor, level in group.levels.items() if factor not in ("target", "negatives", "real_images")}


def _chosen(usable: Sequence[Group], background: Mapping[str, str]) -> dict[Coalition, Group]:
    by_kind: dict[Coalition, Group] = {}
    for group in usable:
        kind = _kind(group)
        if kind is None or any(background.get(factor, level) != level for factor, level in _others(group).items()):
            continue
        if kind not in by_kind or group.synthetic.parts[0].mean() > by_kind[kind].synthetic.parts[0].mean():
            by_kind[kind] = group
    return by_kind


def contrasts(groups: Sequence[Group]) -> tuple[tuple[Contrast, ...], Sample | None]:
    """Compute what each property of the loss costs on real images.

    With all four kinds of loss the costs are Shapley values, the mean over both orders in which the properties may be added;
    with three kinds the one order that was trained; with two kinds the single difference.

    Args:
        groups: all groups, those trained on real images included: they give the same contrast as a control.

    Returns:
        The contrasts, and the sample of text target minus negatives where both are known.

    Source: Shapley (1953) for two players; the use is ours.
    """
    chosen = cells(groups, training_domain(groups))
    terms = _terms(chosen)
    controls = _controls(groups, chosen)
    full = chosen.get(FULL)
    behind = None if full is None else full.teacher_real - full.real
    costs = tuple(_contrast(name, weights, chosen, controls, behind) for name, weights in terms.items())
    difference = None
    if TEXT_TARGET in terms and NEGATIVES in terms:
        difference = _combine(terms[TEXT_TARGET], chosen) - _combine(terms[NEGATIVES], chosen)
    return costs, difference


def _controls(groups: Sequence[Group], chosen: Mapping[Coalition, Group]) -> dict[Coalition, Group]:
    on_real = {group.loss: group for group in groups if group.trained_on == "real"}
    return {cell: on_real[group.loss] for cell, group in chosen.items() if group.loss in on_real}


def _terms(known: Mapping[Coalition, Group]) -> dict[str, Mapping[Coalition, float]]:
    """Return each property's cost as weights over the kinds of loss: positive without the property, negative with it."""
    division = divide((TEXT_TARGET, NEGATIVES), list(known))
    if division is not None:
        return {_name(name): {cell: -weight for cell, weight in part.items()} for name, part in division.weights.items()}
    pairs = {TEXT_TARGET: ((PLAIN, TEXT), (PUSHED, FULL)), NEGATIVES: ((PLAIN, PUSHED), (TEXT, FULL))}
    terms: dict[str, Mapping[Coalition, float]] = {}
    for name, both in pairs.items():
        for without, having in both:
            if without in known and having in known:
                terms[name] = {without: 1.0, having: -1.0}
    return terms


def _name(joined: str) -> str:
    return joined.replace("+", "_and_")


def _combine(weights: Mapping[Coalition, float], chosen: Mapping[Coalition, Group]) -> Sample:
    terms = [weight * chosen[cell].real for cell, weight in weights.items() if weight]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _contrast(
    name: str,
    weights: Mapping[Coalition, float],
    chosen: Mapping[Coalition, Group],
    controls: Mapping[Coalition, Group],
    behind: Sample | None,
) -> Contrast:
    cost = _combine(weights, chosen)
    used = [cell for cell, weight in weights.items() if weight]
    control = _combine(weights, controls) if all(cell in controls for cell in used) else None
    return Contrast(
        name=name,
        without=tuple(chosen[cell].loss for cell in used if weights[cell] > 0),
        having=tuple(chosen[cell].loss for cell in used if weights[cell] < 0),
        points=estimate(cost, low=-1.0, high=1.0),
        share=None if behind is None else _share(cost, behind),
        on_real=None if control is None else estimate(control, low=-1.0, high=1.0),
        interaction=None if control is None else estimate(cost - control, low=-2.0, high=2.0),
        of=chosen[FULL].loss if FULL in chosen else "",
    )


def divisions(groups: Sequence[Group], names: Sequence[str]) -> tuple[Divided, ...]:
    """Divide what the loss with text target and negatives is behind its teacher on real images.

    First among the two properties of the loss, all students trained on the same images. Where the loss without either was trained
    on real images as well, also among these two and the training images; an interaction is then shared between those that make it.

    Args:
        groups: all groups.
        names: what the report calls them.

    Source: Shapley (1953); see `shapley.divide` for incomplete grids.
    """
    called = {id(group): name for group, name in zip(groups, names, strict=True)}
    chosen = cells(groups, training_domain(groups))
    controls = _controls(groups, chosen)
    both: dict[Coalition, Group] = {**controls, **{cell | {SYNTHETIC}: group for cell, group in chosen.items()}}
    divided = [_divided((TEXT_TARGET, NEGATIVES), chosen, called)]
    if controls:
        divided.append(_divided((SYNTHETIC, TEXT_TARGET, NEGATIVES), both, called))
    return tuple(item for item in divided if item is not None)


def _divided(factors: Sequence[str], known: Mapping[Coalition, Group], called: Mapping[int, str]) -> Divided | None:
    division = divide(factors, list(known))
    if division is None:
        return None
    names = [called[id(known[cell])] for cell in (frozenset(), frozenset(factors))]
    used = {cell for weights in division.weights.values() for cell in weights} | {frozenset(), frozenset(factors)}
    known = _same_seeds({cell: known[cell] for cell in used})
    start, end = known[frozenset()], known[frozenset(factors)]
    behind, rest = end.teacher_real - end.real, start.teacher_real - start.real
    parts = []
    for name, weights in division.weights.items():
        cost = _combine({cell: -weight for cell, weight in weights.items()}, known)
        parts.append(Part(_name(name), estimate(cost, low=-1.0, high=1.0), _share(cost, behind)))
    return Divided(
        start=names[0],
        end=names[1],
        gap=estimate(behind, low=-1.0, high=1.0),
        parts=tuple(parts),
        remainder=Part("remainder", estimate(rest, low=-1.0, high=1.0), _share(rest, behind)),
        orders=division.orders,
        possible=division.possible,
    )


def _same_seeds(known: Mapping[Coalition, Group]) -> dict[Coalition, Group]:
    """Keep the seeds that all cells have, so that parts and remainder add up to the gap to the last digit."""
    groups = list(known.values())
    shared = [seed for seed in groups[0].real.seeds if all(seed in group.real.seeds for group in groups)]
    if not shared:
        return dict(known)
    return {
        cell: replace(group, real=group.real.take(shared), teacher_real=group.teacher_real.take(shared)) for cell, group in known.items()
    }


def _share(part: Sample, gap: Sample) -> Estimate | None:
    """Compute the share of a gap, or None where the students may be no worse than their teacher."""
    return share(part, gap) if estimate(gap).low > 0.0 else None
