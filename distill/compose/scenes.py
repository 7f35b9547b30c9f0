"""One picture: a crop of a background, with cut-outs laid on it, and the exact mask of each object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from distill.compose.cutouts import OPAQUE

TRIES = 30
"""Places that are tried for an object before the least covered one is taken."""

LEAST_VISIBLE = 0.6
"""Share of an object that later objects leave visible, where a place with so much is found."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A composed picture.

    Args:
        pixels: RGB, uint8, shape (S, S, 3).
        mask: uint8, shape (S, S); 0 is background, i the i-th object.
    """

    pixels: np.ndarray
    mask: np.ndarray


def compose_scene(
    background: np.ndarray,
    objects: Sequence[np.ndarray],
    *,
    size: int,
    scale: tuple[float, float],
    random: np.random.Generator,
) -> Scene:
    """Lay cut-outs on a random square crop of a background.

    Each object is flipped at random, scaled so that its longer side is a random share of the picture, and placed so that it lies inside the
    picture and leaves earlier objects visible.

    Args:
        background: RGB, uint8, shape (H, W, 3).
        objects: RGBA, uint8, shape (h, w, 4) each; the first lies at the back.
        size: side S of the picture in pixels.
        scale: least and greatest longer side of an object, as a share of S, within (0, 1].
        random: draws crop, flips, sizes and places, always in this order.
    """
    canvas = _crop(background, size, random).astype(np.float32)
    mask = np.zeros((size, size), dtype=np.uint8)
    for number, cutout in enumerate(objects, start=1):
        picture = _resized(cutout[:, ::-1] if random.random() < 0.5 else cutout, round(size * random.uniform(*scale)))
        height, width = picture.shape[:2]
        opacity = picture[..., 3:].astype(np.float32) / 255
        top, left = _place(mask, opacity[..., 0] >= OPAQUE, random)
        window = (slice(top, top + height), slice(left, left + width))
        canvas[window] = canvas[window] * (1 - opacity) + picture[..., :3] * opacity
        mask[window][opacity[..., 0] >= OPAQUE] = number
    return Scene(np.rint(canvas).clip(0, 255).astype(np.uint8), mask)


def _crop(background: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    height, width = background.shape[:2]
    side = max(1, round(min(height, width) * random.uniform(0.7, 1.0)))
    top, left = (int(random.integers(0, extent - side + 1)) for extent in (height, width))
    square = Image.fromarray(background[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


def _resized(cutout: np.ndarray, longer: int) -> np.ndarray:
    height, width = cutout.shape[:2]
    factor = longer / max(height, width)
    # Pillow resizes RGBA with its colours weighted by opacity, so that the hidden colour of transparent pixels does not bleed in.
    image = Image.fromarray(np.ascontiguousarray(cutout), "RGBA")
    return np.asarray(image.resize((max(1, round(width * factor)), max(1, round(height * factor))), Image.Resampling.BICUBIC))


def _place(mask: np.ndarray, shape: np.ndarray, random: np.random.Generator) -> tuple[int, int]:
    """Choose a corner for an object such that enough of each earlier object stays visible, or the best of the places tried."""
    size = len(mask)
    height, width = shape.shape
    areas = np.bincount(mask.ravel())
    best, most = (0, 0), -1.0
    for _ in range(TRIES):
        top, left = int(random.integers(0, size - height + 1)), int(random.integers(0, size - width + 1))
        covered = np.bincount(mask[top : top + height, left : left + width][shape], minlength=len(areas))
        visible = min((1 - covered[number] / areas[number] for number in range(1, len(areas)) if areas[number]), default=1.0)
        if visible > most:
            best, most = (top, left), visible
        if visible >= LEAST_VISIBLE:
            break
    return best
