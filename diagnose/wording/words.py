"""Numbers and names as they stand in sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable

from diagnose.schema import Estimate
from diagnose.wording.numbers import in_percent, with_interval


def percent(value: Estimate) -> str:
    """Write an accuracy: `51.2 % (48.0 to 54.4)`."""
    return with_interval(value, digits=1, percent=True, unit=" %")


def bare_percent(value: Estimate) -> str:
    """Write an accuracy without its interval: `51.2 %`."""
    return f"{in_percent(value.value)} %"


def points(value: Estimate) -> str:
    """Write a difference of accuracies: `33.0 points (29.8 to 36.2)`."""
    return with_interval(value, digits=1, percent=True, unit=" points")


def short_percent(value: Estimate | None) -> str:
    """Write an accuracy in whole per cent: `51 %`."""
    return "an unknown share" if value is None else f"{in_percent(value.value, 0)} %"


def short_points(value: Estimate | None) -> str:
    """Write a difference of accuracies in whole points: `33 points (30 to 36)`."""
    if value is None:
        return "an unknown number of points"
    unit = " point" if in_percent(value.value, 0) == "1" else " points"
    return with_interval(value, digits=0, percent=True, unit=unit)


def chance_words(chance: float, who: str) -> str:
    """Say that the teacher or the student reads nothing that can be shown: `the student is not surely better than chance (10.0 %) on either domain`.

    Args:
        chance: accuracy of guessing, in [0, 1].
        who: `teacher` or `student`.
    """
    return (
        f"the {who} is not surely better than chance ({in_percent(chance)} %) on {'real images' if who == 'teacher' else 'either domain'}"
    )


def number(value: Estimate) -> str:
    """Write an AUC or cosine: `0.91 (0.89 to 0.93)`."""
    return with_interval(value, digits=2)


def more_or_less(value: Estimate, more: str, less: str) -> str:
    """Write a difference so that its sign is a word: `5.0 points (…) wider` or `3.0 points (…) narrower`.

    Args:
        value: a difference of accuracies.
        more: word for a difference above zero.
        less: word for one below.
    """
    return f"{points(value)} {more}" if value.value >= 0 else f"{points(negative(value))} {less}"


def short_effect(value: Estimate) -> str:
    """Write a cost in whole points with its sign as a word."""
    return f"costs {short_points(value)}" if value.value >= 0 else f"helps by {short_points(negative(value))}"


def effect(value: Estimate) -> str:
    """Write a cost so that its sign is a word: `costs 33.0 points (…)` or `helps by 9.1 points (…)`."""
    if value.value >= 0:
        return f"costs {points(value)}"
    return f"helps by {points(negative(value))}"


def negative(value: Estimate) -> Estimate:
    """Turn an estimate's sign."""
    return value.model_copy(update={"value": -value.value, "low": -value.high, "high": -value.low})


def joined(parts: Iterable[str]) -> str:
    """Join parts of a sentence: `a`, `a and b`, `a, b and c`."""
    *first, last = list(parts) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def listed(names: Iterable[str]) -> str:
    """Join names, each written for reading: `a`, `a and b`, `a, b and c`."""
    return joined(plain(name) for name in names)


def plain(name: str) -> str:
    """Write a name for reading: `image_text_contrastive` becomes `image-text contrastive`, `l2` becomes `L2`."""
    text = re.sub(r"\b(image|text)_(image|text)\b|\b(image|text)_(image|text)(?=_)", lambda match: match[0].replace("_", "-"), name)
    return re.sub(r"\bl2\b", "L2", text.replace("_", " "))


def seeds(value: Estimate) -> str:
    """Say how many trainings a number rests on, and what its interval leaves out."""
    if value.over == "images":
        return "one training, so the interval covers the choice of images but not the randomness of training"
    return f"{value.n} seeds"


def upper_first(text: str) -> str:
    """Write the first letter large and leave the others as they are."""
    return text[:1].upper() + text[1:]


def teacher_name(name: str) -> str:
    """Name a teacher after `students of`; one that is merely called that is `one teacher`."""
    return "one teacher" if name == "teacher" else name


def first_sentence(text: str) -> tuple[str, str]:
    """Split a text after its first sentence; a point inside a number does not end one.

    Example:
        >>> first_sentence("It is 4.3 points. More.")
        ('It is 4.3 points.', 'More.')
        >>> first_sentence("In 2 comparisons. 100 % of them.")
        ('In 2 comparisons.', '100 % of them.')
    """
    parts = re.split(r"(?<=[.!?])\s+(?=[A-Z])|(?<=[a-z]{3}\.)\s+(?=\d)", text.strip(), maxsplit=1)
    return parts[0], parts[1] if len(parts) > 1 else ""
