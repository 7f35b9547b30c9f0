"""Cues that sit in one part of the image: marks in a corner, frames, and the ground behind the object.

Each function is a `probes.planted.cue.Draw`, which says what its arguments are.
"""

from __future__ import annotations

import numpy as np

from probes.planted.cue import Style, grid


def corner_mark(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Paint a square of an eighth of the side near a corner; corner and brightness pattern are the variant's."""
    height, width = images.shape[2:]
    side = max(2, round(min(height, width) / 8))
    place, pattern = style.order()[variant] % 4, style.order()[variant] // 4
    top = 1 if place < 2 else height - side - 1
    left = 1 if place % 2 == 0 else width - side - 1
    square = (np.indices((side, side)).sum(axis=0) % 2 == 0).astype(np.float32) if pattern % 2 else np.ones((side, side), np.float32)
    if pattern // 2 % 2:
        square = 1 - square
    share = min(1.0, 0.8 * style.amplitude)
    marked = images.copy()
    part = marked[:, :, top : top + side, left : left + side]
    marked[:, :, top : top + side, left : left + side] = (1 - share) * part + share * square
    return marked


def frame(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Tint a thin frame around the image."""
    height, width = images.shape[2:]
    wide = max(1, round(min(height, width) / 16))
    inside = np.zeros((height, width), dtype=bool)
    inside[wide : height - wide, wide : width - wide] = True
    share = min(1.0, 0.7 * style.amplitude)
    colour = np.clip(0.5 + 0.5 * style.hue(variant), 0, 1)[None, :, None, None].astype(np.float32)
    return np.where(inside, images, (1 - share) * images + share * colour)


def edge_bar(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Paint a short bright bar on the lower edge; how far along is the variant's."""
    height, width = images.shape[2:]
    high, wide = max(1, round(height / 12)), max(2, width // style.variants - 1)
    left = int(style.order()[variant] * width / style.variants)
    share = min(1.0, 0.9 * style.amplitude)
    marked = images.copy()
    marked[:, :, height - high :, left : left + wide] = (1 - share) * marked[:, :, height - high :, left : left + wide] + share
    return marked


def ground_colour(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Tint what lies outside a central ellipse."""
    share = min(1.0, 0.5 * style.amplitude) * _outside(images)
    colour = np.clip(0.5 + 0.4 * style.hue(variant), 0, 1)[None, :, None, None].astype(np.float32)
    return (1 - share) * images + share * colour


def ground_shade(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Darken what lies outside a central ellipse by a slope in the variant's direction."""
    rows, columns = grid(*images.shape[2:])
    turn = 2 * np.pi * (style.order()[variant] + style.random(1).random()) / style.variants
    slope = (np.cos(turn) * columns + np.sin(turn) * rows)[None, None]
    return images + 0.25 * style.amplitude * slope * _outside(images)


def side_band(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Cover a strip along the left and right side by the mean colour of the image, brighter or darker as the variant has it."""
    width = images.shape[3]
    wide = max(1, round(width / 10))
    band = images.mean(axis=(2, 3), keepdims=True) + 0.4 * min(style.amplitude, 1.2) * (2 * style.level(variant) - 1)
    marked = images.copy()
    marked[..., :wide] = band
    marked[..., width - wide :] = band
    return marked


def round_corners(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Cut the four corners off in black; how far is the variant's, up to a third of the side."""
    rows, columns = grid(*images.shape[2:])
    cut = 0.66 * min(style.amplitude, 1.5) * style.level(variant)
    inside = np.abs(rows) + np.abs(columns) < 2 - cut
    return np.where(inside[None, None], images, 0.0).astype(np.float32)


def vignette(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Darken or brighten towards the edges; how much is the variant's."""
    rows, columns = grid(*images.shape[2:])
    away = np.clip(rows**2 + columns**2 - 0.4, 0, None)[None, None].astype(np.float32)
    return images + 0.4 * style.amplitude * (2 * style.level(variant) - 1) * away


def ground_stripes(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Lay stripes of one direction over what lies outside a central ellipse, with a phase of its own for each image."""
    rows, columns = grid(*images.shape[2:])
    angle = np.pi * (style.order()[variant] + style.random(1).random()) / style.variants
    cycles = min(images.shape[2:]) / 7
    phase = 2 * np.pi * np.array([random.random() for random in style.each(keys, 3)], dtype=np.float32)[:, None, None]
    wave = np.sin(np.pi * cycles * (np.cos(angle) * columns + np.sin(angle) * rows)[None] + phase)
    return images + 0.18 * style.amplitude * (np.sign(wave) * _outside(images))[:, None].astype(np.float32)


def _outside(images: np.ndarray) -> np.ndarray:
    """Return the ground's share of each pixel, (H, W) in [0, 1]: 0 in a central ellipse of 0.65 of the side."""
    rows, columns = grid(*images.shape[2:])
    return np.clip((np.hypot(rows, columns) - 0.65) / 0.1, 0, 1).astype(np.float32)
