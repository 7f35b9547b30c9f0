"""Class names, templates and contexts: the words that stand for a class, and those that pictures are asked for with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

DEFAULT_TEMPLATES = ("a photo of a {}.",)
"""The one template of most zero-shot evaluations (Radford et al., 2021, section 3.1.4)."""

PROMPT_SETS: dict[str, tuple[str, ...]] = {
    "simple": ("a photo of a {}",),
    "farhat_objects": ("a picture of a {}",),
    "farhat_scenes": ("the inside of a {}",),
    "farhat_textures": ("{} texture",),
}
"""Named templates for pictures: the simple-prompt baseline of Popp et al. (2024), and Farhat & Chen (2024) for objects (CIFAR, CUB,
Caltech-101), indoor scenes (MIT-67) and textures (DTD)."""

_WEIGHTS = (
    (re.compile(r"\(([^()]*):\d*\.?\d+\)"), r"\1"),  # (word:1.2)
    (re.compile(r"\(((?:[^()]|\([^()]*\))*)\)(?:\++|-+|\d*\.?\d+)(?=[\s,.;)\]]|$)"), r"\1"),  # (some words)++, (some words)1.2
    (re.compile(r"(?<=[\w}])\++(?=[\s,.;)\]]|$)"), ""),  # word++
    (re.compile(r"(?<=[\w}])-+(?=[\s,.;)\]]|$)"), ""),  # word--
)


def fill(templates: Sequence[str], class_name: str) -> list[str]:
    """Put a class name into each template.

    Args:
        templates: strings that hold `{}` once.
        class_name: name of the class; underscores become spaces.

    Returns:
        One prompt for each template.

    Raises:
        ValueError: for no template, or one without exactly one `{}`.
    """
    if not templates:
        raise ValueError("`templates` must hold at least one template, got none; add 'a photo of a {}.'.")
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"`templates` must each hold one {{}}, got {template!r}; mark the place of the class name.")
    return [template.replace("{}", class_name.replace("_", " ")) for template in templates]


def strip_weights(text: str) -> str:
    """Take weighting syntax out of a prompt: `word++`, `word--`, `(some words)1.2` and `(some words:1.2)`.

    Text encoders read it as words: captions that keep it feed noise to the loss, as those released with Popp et al. (2024) do.

    Example:
        >>> strip_weights("A photo of a beagle++++ (dog++, pet), (in a garden)1.2, at noon")
        'A photo of a beagle (dog, pet), in a garden, at noon'
    """
    before = None
    while before != text:
        before = text
        for pattern, replacement in _WEIGHTS:
            text = pattern.sub(replacement, text)
    return " ".join(text.split())


def check_class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Refuse class names that are empty or that a prompt cannot tell apart.

    Returns:
        The names.

    Raises:
        ValueError: for no names, an empty one, or two that differ in case, spaces and underscores only.
    """
    if not names:
        raise ValueError("`classes` must hold at least one class name, got none; write one a line.")
    if not all(name.strip() for name in names):
        raise ValueError("`classes` must hold no empty name, got one; remove it.")
    words = [" ".join(name.replace("_", " ").lower().split()) for name in names]
    if double := [word for word, count in Counter(words).items() if count > 1]:
        alike = [name for name, word in zip(names, words, strict=True) if word == double[0]]
        raise ValueError(
            f"`classes` must be told apart by their names, got {' and '.join(map(repr, alike))} ({len(double)} such); "
            "remove the double or say more, such as 'crane (bird)'."
        )
    return tuple(names)
