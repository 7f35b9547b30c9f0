"""Numbers and names as they stand in sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence

from diagnose.schema import Estimate


def percent(value: Estimate) -> str:
    """Write an accuracy: `51.2 % (48.0 to 54.4)`."""
    return f"{100 * value.value:.1f} % ({100 * value.low:.1f} to {100 * value.high:.1f})"


def bare_percent(value: Estimate) -> str:
    """Write an accuracy without its interval: `51.2 %`."""
    return f"{100 * value.value:.1f} %"


def points(value: Estimate) -> str:
    """Write a difference of accuracies: `33.0 points (29.8 to 36.2)`."""
    return f"{signless(100 * value.value)} points ({signless(100 * value.low)} to {signless(100 * value.high)})"


def short_percent(value: Estimate | None) -> str:
    """Write an accuracy in whole per cent: `51 %`."""
    return "an unknown share" if value is None else f"{100 * value.value:.0f} %"


def short_points(value: Estimate | None) -> str:
    """Write a difference of accuracies in whole points: `33 points (30 to 36)`."""
    if value is None:
        return "an unknown number of points"
    number = signless(100 * value.value, 0)
    return f"{number} {'point' if number == '1' else 'points'} ({signless(100 * value.low, 0)} to {signless(100 * value.high, 0)})"


def chance_words(chance: float, who: str) -> str:
    """Say that the teacher or the student reads nothing that can be shown: `the student is not surely better than chance (10.0 %) on either domain`."""
    return f"the {who} is not surely better than chance ({100 * chance:.1f} %) on {'real images' if who == 'teacher' else 'either domain'}"


def number(value: Estimate) -> str:
    """Write an AUC or cosine: `0.91 (0.89 to 0.93)`."""
    return f"{signless(value.value, 2)} ({signless(value.low, 2)} to {signless(value.high, 2)})"


def signless(value: float, digits: int = 1) -> str:
    """Write a number with a true minus sign, and without one for a rounded zero."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def more_or_less(value: Estimate, more: str, less: str) -> str:
    """Write a difference so that its sign is a word: `5.0 points (…) wider` or `3.0 points (…) narrower`."""
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


def listed(names: Sequence[str]) -> str:
    """Join names: `a`, `a and b`, `a, b and c`."""
    names = [plain(name) for name in names]
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def plain(name: str) -> str:
    """Write a name for reading: `image_text_contrastive` becomes `image-text contrastive`, `l2` becomes `L2`."""
    text = re.sub(r"\b(image|text)_(image|text)\b|\b(image|text)_(image|text)(?=_)", lambda found: found[0].replace("_", "-"), name)
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
