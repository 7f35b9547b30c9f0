"""Factors and their levels as they stand in sentences and tables, and what contrasts between them say."""

from __future__ import annotations

from diagnose.judge.facts import Divided, LevelContrast, Part
from diagnose.schema import Estimate
from diagnose.wording.numbers import in_percent
from diagnose.wording.words import joined, more_or_less, negative, plain, points, short_points, upper_first

COSTS = {
    "text_target": "the text target",
    "negatives": "the use of negatives",
    "text_target_and_negatives": "the combination of text target and negatives",
    "synthetic_images": "training on synthetic instead of real images",
    "synthetic_images_and_text_target": "the combination of synthetic images and text target",
    "synthetic_images_and_negatives": "the combination of synthetic images and negatives",
    "synthetic_images_and_text_target_and_negatives": "the combination of synthetic images, text target and negatives",
    "remainder": "what none of these explains",
}
"""Parts of a gap, as the subject of a sentence."""

FACTORS = {
    "target": "image or text target",
    "negatives": "negatives",
    "pool": "where negatives come from",
    "labels": "hard or soft targets",
    "positives": "false negatives",
    "temperature": "temperature",
    "text": "the text that stands for an image",
    "prompts": "prompts that stand for a class",
    "real_images": "share of real training images",
    "form": "form of the loss",
}
"""Names of factors, as headings."""


def level_words(factor: str, level: str) -> str:
    """Say a level so that its factor is clear: `temperature 0.1`, `10 % real images`, `soft targets`.

    Args:
        factor: name of the factor.
        level: its level.
    """
    if factor == "negatives":
        return "negatives" if level == "yes" else "no negatives"
    if factor == "positives":
        return "no false negatives" if level == "class" else "false negatives" if level == "item" else level
    patterns = {
        "target": "{} target",
        "pool": "negatives from the {}" if level == "batch" else "other {} as negatives",
        "labels": "{} targets",
        "temperature": "a {} temperature" if level == "learned" else "temperature {}",
        "text": "{}",
        "prompts": "one prompt" if level == "1" else "{} prompts",
        "real_images": "{} real images",
    }
    return patterns.get(factor, "{}").replace("{}", plain(level) if factor == "form" else level)


def versus(factor: str, level: str, against: str) -> str:
    """Name two levels: `temperature 0.01 instead of 0.07`.

    Args:
        factor: name of the factor.
        level: its level.
        against: the level it is compared with.
    """
    other = against if factor in ("temperature", "real_images") else level_words(factor, against)
    return f"{level_words(factor, level)} instead of {other}"


def change(value: Estimate) -> str:
    """Write a difference so that its sign is a word: `gains 3.0 points (…)` or `loses 2.0 points (…)`."""
    return f"gains {points(value)}" if value.value >= 0 else f"loses {points(negative(value))}"


def contrast_sentence(item: LevelContrast) -> str:
    """Say what one level changes against another, on both domains, and between which students it was read."""
    return (
        f"{upper_first(versus(item.factor, item.level, item.against))} {change(item.real)} on real and {change(item.synthetic)} on synthetic images "
        f"({plain(item.having)} against {plain(item.other)})."
    )


def division_sentence(divided: Divided) -> str:
    """Say of what a gap is made, and whether the parts are Shapley values."""
    parts = [f"{COSTS.get(part.name, plain(part.name))} {_amount(part)}" for part in divided.parts]
    parts.append(f"{_amount(divided.remainder)} remain with {plain(divided.start)}")
    return (
        f"{upper_first(plain(divided.end))} is {more_or_less(divided.gap, 'behind', 'ahead of')} its teacher on real images: {joined(parts)}. "
        f"{orders_words(divided.orders, divided.possible, len(divided.parts))}"
        f"{' Each number rests on one training.' if divided.gap.over == 'images' else ''}"
    )


def part_sentence(part: Part) -> str:
    """Say what one factor contributes to a gap."""
    return f"{upper_first(COSTS.get(part.name, plain(part.name)))}: {_amount(part)}."


def _amount(part: Part) -> str:
    if part.share is None:
        return points(part.points)
    value, low, high = (in_percent(end, 0) for end in (part.share.value, part.share.low, part.share.high))
    return f"{points(part.points)[:-1]}; {value} %, {low} to {high})"


def share_words(share: Estimate) -> str:
    """Write a share of a gap in per cent with its interval."""
    value, low, high = (in_percent(end, 0) for end in (share.value, share.low, share.high))
    return f"{value} % ({low} to {high})"


def short_division(divided: Divided) -> str:
    """Say in one sentence how the gap is shared, for the verdict: only shares that are surely not zero; nothing where there are none."""
    rest = divided.remainder.share
    shares = [(COSTS.get(part.name, plain(part.name)), part.share) for part in divided.parts if part.share is not None]
    if not shares or rest is None:
        return ""
    more = [f"{name} makes up {in_percent(share.value, 0)} %" for name, share in shares if share.low > 0]
    less = [f"{name} gives {in_percent(-share.value, 0)} % back" for name, share in shares if share.high < 0]
    lacking = [f"{in_percent(rest.value, 0)} % of them are missing with {plain(divided.start)} as well"] if rest.low > 0 else []
    if not more and not lacking:
        return ""
    back = f"; {joined(less)}" if less else ""
    return f" Of the {short_points(divided.gap)} that {plain(divided.end)} is behind its teacher there, {joined([*more, *lacking])}{back}."


def orders_words(orders: int, possible: int, parts: int) -> str:
    """Say what the parts of a division are.

    Args:
        orders: orders of switching that were trained.
        possible: orders there are.
        parts: parts of the division.
    """
    if orders == possible:
        return f"These are Shapley values: all {possible} orders in which the factors can be switched were trained."
    if orders:
        return f"The parts are means over {orders} of {possible} orders of switching the factors; the cells of the others were not trained."
    return (
        "The students cannot tell these factors apart." if parts == 1 else "Factors named together cannot be told apart by these students."
    )
