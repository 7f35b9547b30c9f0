"""Students that differ in one factor of the recipe alone, whatever the factor, and what that changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from diagnose.judge.facts import LevelContrast
from diagnose.judge.groups import Group
from diagnose.judge.intervals import estimate

FACTORS = ("target", "negatives", "pool", "labels", "positives", "temperature", "text", "prompts", "real_images", "form")
"""Every factor, in the order of the report; `form` is all else in which two losses of the same levels differ."""

OF_LOSS = ("target", "negatives", "pool", "labels", "positives")
"""Factors that are properties of the loss itself: students that differ in one of these differ in their loss, too."""

BROUGHT_BY = {
    "pool": ("negatives",),
    "labels": ("negatives", "pool"),
    "positives": ("negatives", "pool", "labels"),
    "temperature": ("negatives", "pool", "labels"),
    "text": ("target",),
    "prompts": ("target", "text"),
}
"""Factors that have no meaning for some levels of others -> those others, whose change brings or removes them."""

FIRST = {"target": "image", "negatives": "no"}
"""Levels that others are compared with, where that is not the most frequent one."""


def centre(groups: Iterable[Group]) -> dict[str, str]:
    """Return each factor's most frequent level, the first of equals; a grid that varies one thing at a time has its middle there."""
    counts: dict[str, Counter[str]] = {}
    for group in groups:
        for factor, level in group.levels.items():
            counts.setdefault(factor, Counter())[level] += 1
    return {factor: FIRST.get(factor) or max(levels, key=lambda level: levels[level]) for factor, levels in counts.items()}


def only_difference(one: Group, other: Group, middle: Mapping[str, str]) -> str | None:
    """Return the one factor in which two groups differ, or None where they differ in none or in several.

    Some factors have no meaning for one of the groups, such as a temperature for L2. They do not count as a second difference where the
    first one brings them along (`BROUGHT_BY`) and they are at their middle level: negatives come with the temperature that most students have.

    Args:
        one: a group.
        other: another group.
        middle: from `centre`.
    """
    a, b = one.levels, other.levels
    differing = [factor for factor in a if factor in b and a[factor] != b[factor]]
    alone = {**{f: level for f, level in a.items() if f not in b}, **{f: level for f, level in b.items() if f not in a}}
    if not differing:
        return "form" if not alone and a and one.recipe != other.recipe and one.trained_on == other.trained_on else None
    if len(differing) > 1:
        return None
    factor = differing[0]
    if factor not in OF_LOSS and one.recipe != other.recipe:
        return None
    if any(factor not in BROUGHT_BY.get(extra, ()) or middle.get(extra) != level for extra, level in alone.items()):
        return None
    return factor


def level_contrasts(groups: Sequence[Group], names: Sequence[str], domain: str | None) -> tuple[LevelContrast, ...]:
    """Compare every two groups that differ in one factor alone, one of them at the factor's middle level.

    Where several groups have the very same levels the one most accurate on held-out synthetic images stands for them, so that the
    choice does not look at real images; `form` compares those several with the first of them.

    Args:
        groups: students of one recipe and training set each.
        names: what the report calls them.
        domain: training set of the students that the question is about; their most frequent levels are the middle.

    Returns:
        In the order of `FACTORS`, then of the groups.
    """
    middle = centre(group for group in groups if group.trained_on == domain)
    named = list(zip(groups, names, strict=True))
    best: dict[tuple[tuple[str, str], ...], Group] = {}
    for group in groups:
        key = tuple(sorted(group.levels.items()))
        if key not in best or _synthetic(group) > _synthetic(best[key]):
            best[key] = group
    standing = {id(group) for group in best.values()}
    contrasts = []
    for place, (one, one_name) in enumerate(named):
        for other, other_name in named[:place]:
            factor = only_difference(one, other, middle)
            if factor == "form":
                contrasts.append(_contrast(factor, one, other, one_name, other_name))
            elif factor is not None and (factor not in OF_LOSS or {id(one), id(other)} <= standing):
                if other.levels[factor] == middle.get(factor):
                    contrasts.append(_contrast(factor, one, other, one_name, other_name))
                elif one.levels[factor] == middle.get(factor):
                    contrasts.append(_contrast(factor, other, one, other_name, one_name))
    return tuple(sorted(contrasts, key=lambda item: FACTORS.index(item.factor)))


def _synthetic(group: Group) -> float:
    return float(group.synthetic.parts[0].mean())


def _contrast(factor: str, having: Group, other: Group, having_name: str, other_name: str) -> LevelContrast:
    a, b = having.levels, other.levels
    return LevelContrast(
        factor=factor,
        level=a.get(factor, having_name),
        against=b.get(factor, other_name),
        having=having_name,
        other=other_name,
        real=estimate(having.real - other.real, low=-1.0, high=1.0),
        synthetic=estimate(having.synthetic - other.synthetic, low=-1.0, high=1.0),
        trained_on=having.trained_on if having.trained_on == other.trained_on else None,
        target=a.get("target") if a.get("target") == b.get("target") else None,
    )
