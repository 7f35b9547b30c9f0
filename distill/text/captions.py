"""Texts of training images: templates filled with the class, drawn words and columns of the data, one text for each image."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from distill.data.split import Split


def placeholders(template: str) -> list[str]:
    """List the names between braces in a template, without `{}`, the class.

    Raises:
        ValueError: for a template that has not exactly one `{}`, or braces that do not match.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"`templates` must have braces that match, got {template!r} ({error}); mend it.") from error
    if shaped := [name for _, name, spec, conversion in parts if spec or conversion]:
        raise ValueError(f"`templates` must hold plain names in braces, got {{{shaped[0]}}} with a format in {template!r}; take it out.")
    names = [name for _, name, _, _ in parts if name is not None]
    if names.count("") != 1:
        raise ValueError(f"`templates` must each hold one {{}}, got {template!r}; mark the place of the class name.")
    return [name for name in names if name]


def write_texts(split: Split, templates: Sequence[str], words: Mapping[str, Sequence[str]], *, seed: int = 0) -> list[str]:
    """Write one text for each image: a template drawn for it, filled with its class, drawn words and its own columns.

    Args:
        split: N images.
        templates: `{}` is the class, `{name}` one of `words[name]`, or else what the column `name` of the split says.
        words: name -> words to draw from.
        seed: of the draws; the same split, templates and seed give the same texts.

    Raises:
        ValueError: for a place that is neither in `words` nor a text column.
    """
    columns: dict[str, list[str]] = {}
    for name in dict.fromkeys(place for template in templates for place in placeholders(template)):
        if name in words:
            continue
        if name not in split.attributes:
            known = [*words, *split.attributes]
            raise ValueError(f"`templates` must use {{}} and places among {known}, got {{{name}}} for `{split.name}`; add it to `words`.")
        columns[name] = split.column(name)
    random = np.random.default_rng(seed)
    template_indices = random.integers(len(templates), size=len(split))
    word_indices = {name: random.integers(len(choices), size=len(split)) for name, choices in words.items()}
    texts = []
    for row, label in enumerate(split.labels):
        filled = {name: words[name][int(numbers[row])] for name, numbers in word_indices.items()}
        filled |= {name: str(values[row]) for name, values in columns.items()}
        texts.append(templates[int(template_indices[row])].format(split.class_names[label].replace("_", " "), **filled))
    return texts
