"""Contextual diversification: options for four contexts of a class, combined so that every two of them meet."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from distill.system.untrusted_text import fault_and_remedy, read_json, read_toml
from distill.text.pairwise import all_pairs
from distill.text.prompts import fill, strip_weights

MAX_OPTIONS = 100
"""Most options of a dimension: the prompts grow with their square, and the published designs have fifteen."""

MAX_DIMENSIONS = 20
"""Most dimensions; the published designs have four."""


@dataclass(frozen=True)
class Prompt:
    """The prompt of one image.

    Args:
        class_name: its class.
        text: the words, without weighting syntax; also the picture's caption.
        contexts: dimension -> option, such as `location` -> `on a beach`; empty for plain templates.
    """

    class_name: str
    text: str
    contexts: Mapping[str, str] = field(default_factory=dict)


class Contexts(BaseModel):
    """Contexts that pictures of a class are asked for in; `docs/synthesize.md` shows a file.

    Popp et al. (2024) use four dimensions: location, time of day, camera angle, and one that depends on the domain (position of a
    pet, how a dish is served, colour of a car). Any number will do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: str = Field("a photo of a {class}, {contexts}", description="holds {class}, and {contexts} or the dimensions by name")
    superclass: str = Field("", description="what {superclass} in the template stands for")
    dimensions: dict[str, list[str]] = Field(default_factory=dict, description="dimension -> options, for all classes")
    classes: dict[str, dict[str, list[str]]] = Field(default_factory=dict, description="class -> dimension -> options of its own")

    @field_validator("dimensions")
    @classmethod
    def _options(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        return _clean(value)

    @field_validator("classes")
    @classmethod
    def _own_options(cls, value: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
        return {word: _clean(dimensions, f"{word}.") for word, dimensions in value.items()}

    @model_validator(mode="after")
    def _template_fits(self) -> Self:
        try:
            parts = list(string.Formatter().parse(self.template))
        except ValueError as error:
            raise ValueError(f"`template` must be text with names in braces, got {self.template!r} ({error})") from error
        if shaped := [name for _, name, spec, conversion in parts if spec or conversion]:
            raise ValueError(f"`template` must hold plain names in braces, got {{{shaped[0]}}} with a format")  # such as {class:>999999999}
        placeholders = {name for _, name, _, _ in parts if name is not None}
        known = {
            "class",
            "superclass",
            "contexts",
            *self.dimensions,
            *(name for dimensions in self.classes.values() for name in dimensions),
        }
        if "class" not in placeholders:
            raise ValueError(f"`template` must hold {{class}}, got {self.template!r}")
        if extra := sorted(placeholders - known):
            raise ValueError(f"`template` must name dimensions, {sorted(known)}, got {{{extra[0]}}}")
        return self

    def of(self, class_name: str) -> dict[str, list[str]]:
        """Return the dimensions and options of a class: the shared ones, replaced or joined by its own."""
        return {**self.dimensions, **self.classes.get(class_name, {})}


def _clean(dimensions: Mapping[str, Sequence[str]], before: str = "") -> dict[str, list[str]]:
    if len(dimensions) > MAX_DIMENSIONS:
        raise ValueError(f"there must be at most {MAX_DIMENSIONS} dimensions, got {len(dimensions)}")
    return {name: _clean_options(f"{before}{name}", options) for name, options in dimensions.items()}


def _clean_options(name: str, options: Sequence[str]) -> list[str]:
    if not name.replace("_", "").replace(".", "").replace(" ", "").replace("-", "").isalnum():
        raise ValueError(f"a dimension must be named with letters, digits and _, got {name!r}")
    if len(options) > MAX_OPTIONS:
        raise ValueError(f"every dimension must have at most {MAX_OPTIONS} options, for all pairs meet, got {len(options)} for {name!r}")
    cleaned = [strip_weights(option) for option in options]
    if not cleaned or not all(cleaned):
        raise ValueError(f"every dimension must have options, none of them empty, got {list(options)} for {name!r}")
    if len({option.lower() for option in cleaned}) < len(cleaned):
        raise ValueError(f"options of {name!r} must differ, got one twice in {cleaned}")
    return cleaned


def read_contexts(path: Path | str) -> Contexts:
    """Read contexts from a TOML or JSON file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is neither, an unknown key, an empty dimension or a template without `{class}`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`contexts` must be a TOML or JSON file that exists, got {path}; docs/synthesize.md shows one.")
    data = (read_json if path.suffix.lower() == ".json" else read_toml)(path, "`contexts`")
    try:
        return Contexts.model_validate(data)
    except ValidationError as error:
        raise ValueError(f"{path}: {fault_and_remedy(error)}") from error


def diverse_prompts(class_names: Sequence[str], contexts: Contexts, *, seed: int = 0) -> dict[str, list[Prompt]]:
    """Make the prompts of an all-pairs design over each class's contexts.

    Args:
        class_names: C names.
        contexts: options; 5, 10 or 15 in each of four dimensions give 29, 115 or 257 prompts a class with seed 0.
        seed: of the design.

    Returns:
        Class -> prompts, the most informative first.

    Raises:
        ValueError: for a class without any context, or contexts of a class that is not asked for.

    Source: contextual diversification (Popp et al., 2024).
    """
    if unknown := sorted(set(contexts.classes) - set(class_names)):
        raise ValueError(f"`contexts` must be of the classes asked for, got {unknown[0]!r} too; correct the name or remove it.")
    return {name: _of_class(name, contexts, seed) for name in class_names}


def _of_class(class_name: str, contexts: Contexts, seed: int) -> list[Prompt]:
    dimensions = contexts.of(class_name)
    if not dimensions:
        raise ValueError(f"`contexts` must have options for every class, got none for {class_name!r}; add [dimensions] to the file.")
    template = strip_weights(contexts.template)
    prompts = []
    for row in all_pairs([len(options) for options in dimensions.values()], seed=seed):
        chosen = {name: options[index] for (name, options), index in zip(dimensions.items(), row, strict=True)}
        words = {"class": class_name.replace("_", " "), "superclass": contexts.superclass, "contexts": ", ".join(chosen.values())}
        try:
            text = template.format_map({**chosen, **words})
        except KeyError as error:
            raise ValueError(
                f"`template` must name dimensions of every class, got {error.args[0]!r}, which {class_name!r} lacks."
            ) from error
        prompts.append(Prompt(class_name, text, chosen))
    return prompts


def plain_prompts(class_names: Sequence[str], templates: Sequence[str]) -> dict[str, list[Prompt]]:
    """Fill templates with each class name, without contexts.

    Args:
        class_names: C names.
        templates: strings that hold `{}` once.

    Returns:
        Class -> prompts, one for each template.

    Raises:
        ValueError: for a template without exactly one `{}`.
    """
    cleaned = [strip_weights(template) for template in templates]
    return {name: [Prompt(name, text) for text in fill(cleaned, name)] for name in class_names}
