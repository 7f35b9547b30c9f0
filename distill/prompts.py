"""Class names and templates: the words that stand for a class."""

from __future__ import annotations

from collections.abc import Sequence

DEFAULT_TEMPLATES = ("a photo of a {}.",)
"""The one template of most zero-shot evaluations (Radford et al., 2021, section 3.1.4)."""


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
