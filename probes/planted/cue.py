"""What a planted cue is: the look of each of its variants, and the mask of what it touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from probes.edits.families import FAMILIES

UNCARRIED = "other"
"""Planted family of cues that no exchange carries: there the right answer is to name nothing."""

Role = Literal["dev", "checked", "held-out"]
"""`dev`: used while the rules were written. `checked`: held out once, used since, and so no longer a proof. `held-out`: first seen by the toolkit
after its rules were frozen."""

Draw = Callable[[np.ndarray, int, "Style", np.ndarray], np.ndarray]
"""Paint one variant of a cue: `draw(images, variant, style, keys)`; pure.

`images` is (n, 3, H, W) float32 in [0, 1], `variant` an int in [0, style.variants), `style` a `Style`, and `keys` (n,) int. The result has the shape
of the images and need not be clipped. What is random about one image follows from its key, so that it does not depend on the others.
"""

VISIBLE = 2 / 255
"""A pixel belongs to the mask when a channel changed by more than this: more than rounding to eight bits can do twice."""


@dataclass(frozen=True)
class Style:
    """How one draw of a cue looks.

    Args:
        variants: how many variants there are, at least 2; variant v is class v's.
        amplitude: how plain the cue is, above 0; 1 is easily seen by eye.
        seed: seed of everything else: which colour, place, direction or texture each variant has.
    """

    variants: int
    amplitude: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.variants < 2:
            raise ValueError(f"`variants` must be at least 2, got {self.variants}; a cue tells classes apart.")
        if not self.amplitude > 0:
            raise ValueError(f"`amplitude` must be above 0, got {self.amplitude}; plant nothing instead.")

    def random(self, *parts: int) -> np.random.Generator:
        """Return a generator of random numbers for one aspect of the look, the same at every call."""
        return np.random.default_rng([self.seed, *parts])

    def each(self, keys: np.ndarray, *parts: int) -> list[np.random.Generator]:
        """Return a generator for each image."""
        return [self.random(*parts, int(key)) for key in keys]

    def order(self) -> np.ndarray:
        """Return a drawn order of the variants, (V,) int, so that neighbouring classes do not always look alike."""
        return self.random(0).permutation(self.variants)

    def level(self, variant: int) -> float:
        """Return this variant's place on a scale from 0 to 1, evenly spaced in the drawn order."""
        return float(self.order()[variant]) / (self.variants - 1)

    def hue(self, variant: int) -> np.ndarray:
        """Return this variant's direction in colour, (3,), of length 1 and without brightness; directions are evenly spaced."""
        turn = 2 * np.pi * (self.order()[variant] + self.random(1).random()) / self.variants
        first, second = np.array([2.0, -1.0, -1.0]) / np.sqrt(6), np.array([0.0, 1.0, -1.0]) / np.sqrt(2)
        return np.cos(turn) * first + np.sin(turn) * second


@dataclass(frozen=True)
class Cue:
    """One kind of cue.

    Args:
        family: what a diagnosis should call it: a nameable key of `probes.edits.FAMILIES`, one of its `planted_as` names, or `UNCARRIED`.
        draw: paints it.
        local: whether its mask covers only part of the image, so that one can ask where it is.
        role: see `Role`.
        also: other families that describe it as well, such as a vignette, which is a border and a layout.

    Raises:
        ValueError: for an unknown family.
    """

    family: str
    draw: Draw
    local: bool = False
    role: Role = "dev"
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for family in (self.family, *self.also):
            diagnosed_family(family)

    @property
    def held_out(self) -> bool:
        """Whether it stood aside while the mapping from evidence to family was written."""
        return self.role == "held-out"


def diagnosed_family(planted: str) -> str | None:
    """Return the family that a diagnosis should name for a planted one, or None where it should name nothing.

    Args:
        planted: family of a planted cue.

    Raises:
        ValueError: for a name that is no planted family.
    """
    names = {alias: name for name, family in FAMILIES.items() if family.nameable for alias in (name, *family.planted_as)}
    if planted == UNCARRIED:
        return None
    if planted not in names:
        raise ValueError(f"`family` of a planted cue must be one of {sorted([*names, UNCARRIED])}, got {planted!r}; add it to `FAMILIES`.")
    return names[planted]


def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns from -1 to 1, (H, 1) and (1, W), at the middles of the pixels.

    Args:
        height: H.
        width: W.

    Returns:
        (H, 1) and (1, W) float32.
    """
    rows, columns = ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1 for side in (height, width))
    return rows[:, None], columns[None, :]
