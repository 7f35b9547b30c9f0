"""Lay a signed map over its picture: vermillion speaks for the number, blue against it, clear says nothing."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

FOR, AGAINST = (213, 94, 0), (0, 114, 178)
"""Okabe-Ito's vermillion and blue: told apart with every kind of colour vision."""

SIDE = 144


def decode(content: bytes, side: int = SIDE) -> np.ndarray:
    """Decode a checked thumbnail and enlarge it without smoothing, (h, w, 3) uint8 with `side` as its longer side.

    Args:
        content: PNG or JPEG.
        side: pixels of the longer side.
    """
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
        whole = image.convert("RGB")
    scale = side / max(whole.size)
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    return np.asarray(whole.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BICUBIC))


def overlay(content: bytes, values: np.ndarray, strength: float, *, side: int = SIDE) -> bytes:
    """Draw a map over its picture.

    The picture turns grey and a pixel is covered by strength x sqrt(|value| / largest |value|): the root, since maps are sharp and
    their smaller values would not be seen.

    Args:
        content: the picture, PNG or JPEG.
        values: (h, w), signed; scaled by its largest magnitude.
        strength: 0, the picture alone in its colours, to 1.
        side: longer side of what is drawn, in pixels.

    Returns:
        PNG bytes.
    """
    picture = decode(content, side).astype(np.float64)
    heat = enlarged(values, picture.shape[:2])
    largest = np.abs(heat).max()
    size = np.sqrt(np.abs(heat) / largest) if largest > 0 else np.zeros_like(heat)
    cover = (strength * size)[..., None]
    grey = picture.mean(axis=2, keepdims=True)
    base = picture + min(1.0, 2 * strength) * (grey - picture)
    colour = np.where(heat[..., None] >= 0, np.array(FOR), np.array(AGAINST))
    return png((1 - cover) * base + cover * colour)


def map_alone(values: np.ndarray, *, side: int = SIDE) -> bytes:
    """Draw a map without a picture, on white.

    Args:
        values: (h, w) map.
        side: of the picture in pixels.
    """
    heat = enlarged(values, (side, side))
    largest = np.abs(heat).max()
    size = (np.sqrt(np.abs(heat) / largest) if largest > 0 else np.zeros_like(heat))[..., None]
    colour = np.where(heat[..., None] >= 0, np.array(FOR), np.array(AGAINST))
    return png((1 - size) * 255 + size * colour)


def enlarged(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Repeat cells (h, w) to another shape, nearest cell; what is not finite becomes zero.

    Args:
        values: (h, w) map.
        shape: height and width to fill.
    """
    values = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    down, across = (np.arange(to) * have // to for have, to in zip(values.shape, shape, strict=True))
    return values[down][:, across]


def png(pixels: np.ndarray) -> bytes:
    """Encode (h, w, 3) values from 0 to 255."""
    buffer = io.BytesIO()
    Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
