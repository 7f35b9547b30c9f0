"""Families of cues: what a cue is made of or where it lies, what to call it, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FamilyKind = Literal["substance", "border", "window", "mixed"]
"""What a family says of a cue:

`substance`: what the cue is made of. The exchanges of one substance leave the other substances alone.
`border`: the cue lies around the image, whatever it is made of.
`window`: the cue lies in one part of the image, whatever it is made of.
`mixed`: the cue is one of several substances. A diagnosis never names such a family.
"""


@dataclass(frozen=True)
class Family:
    """One family of cues.

    Args:
        title: name in a sentence (`colour, brightness or contrast`).
        short: one or two words for a narrow place (`colour`).
        kind: see `FamilyKind`.
        remedy: what to do about such a cue, as an order; empty for `mixed`.
        as_object: name as what a class is read from; `title` where it is empty.
        planted_as: further names that planted cues of this family go by, beside its own.

    Raises:
        ValueError: for a family that a diagnosis can name and that has no remedy.
    """

    title: str
    short: str
    kind: FamilyKind
    remedy: str = ""
    as_object: str = ""
    planted_as: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.nameable and not self.remedy:
            raise ValueError(f"`remedy` of the family {self.title!r} must be a sentence, got none; say what to do about such a cue.")

    @property
    def nameable(self) -> bool:
        """Whether a diagnosis may name this family as the cause."""
        return self.kind != "mixed"

    @property
    def is_place(self) -> bool:
        """Whether the family says where a cue lies, whatever it is made of."""
        return self.kind in ("border", "window")

    @property
    def object_phrase(self) -> str:
        """Name of the family as what a class is read from."""
        return self.as_object or self.title


FAMILIES: dict[str, Family] = {
    "colour": Family(
        "colour, brightness or contrast",
        "colour",
        "substance",
        "vary colours in training, or give the synthetic images the colour statistics of real ones",
    ),
    "texture": Family(
        "local texture",
        "fine texture",
        "substance",
        "vary fine detail in training (blur, noise, other generators or styles)",
    ),
    "shape": Family(
        "coarse layout",
        "layout",
        "substance",
        "ask the generator for more poses, places and layouts",
    ),
    "frequency": Family(
        "repeating patterns",
        "patterns",
        "substance",
        "take the repeating pattern out of the synthetic images (resample or notch them), or decode them differently",
    ),
    "codec": Family(
        "sharpness, noise or compression",
        "sharpness, noise",
        "substance",
        "write both domains with the same codec, size and sharpness, and vary blur, noise and compression in training",
    ),
    "border": Family(
        "border or background",
        "border",
        "border",
        "crop training images at random and vary the backgrounds that the generator is asked for",
        as_object="the border or background",
        planted_as=("background",),
    ),
    "mark": Family(
        "something at one place of the image",
        "one place",
        "window",
        "look at what lies at that place, crop training images at random, and cover parts of them",
    ),
    "local": Family("local cues of colour or texture, wherever they are", "local cues", "mixed"),
    "spectrum": Family("amplitudes of the spectrum: texture, repeating patterns or sharpness", "spectrum", "mixed"),
}
"""Every family of cues by its name."""
