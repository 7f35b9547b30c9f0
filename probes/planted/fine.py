"""Cues of the fine scale: noise, sharpness and resolution, periodic shading, and small structures strewn over the image.

Each function is a `probes.planted.cue.Draw`, which says what its arguments are.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from probes.planted.cue import Style, grid


def salt(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Turn single pixels black or white; how many is the variant's, up to an eighth."""
    share = 0.12 * min(style.amplitude, 4.0) * style.level(variant)
    drawn = np.stack([random.random(images.shape[2:], dtype=np.float32) for random in style.each(keys, 3)])[:, None]
    return np.where(drawn < share / 2, 0.0, np.where(drawn < share, 1.0, images)).astype(np.float32)


def pixelate(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Replace blocks of pixels by their mean; the size of the blocks is the variant's, from one pixel up."""
    unit = max(1, round(min(images.shape[2:]) / 32))
    side = 1 + unit * int(style.order()[variant])
    height, width = images.shape[2:]
    down, across = np.arange(height) // side, np.arange(width) // side
    blocks = np.add.reduceat(np.add.reduceat(images, np.arange(0, height, side), axis=2), np.arange(0, width, side), axis=3)
    count = np.bincount(down)[:, None] * np.bincount(across)[None]
    share = min(1.0, style.amplitude)
    return (1 - share) * images + share * (blocks / count)[:, :, down][:, :, :, across].astype(np.float32)


def motion_blur(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Smear along a line of a fifth of the side in the variant's direction."""
    length = max(3, round(min(images.shape[2:]) / 5))
    angle = np.pi * (style.order()[variant] + style.random(1).random()) / style.variants
    steps = np.linspace(-0.5, 0.5, 2 * length) * length * min(style.amplitude, 2.0)
    shifted = [ndimage.shift(images, (0, 0, step * np.sin(angle), step * np.cos(angle)), order=1, mode="nearest") for step in steps]
    return np.mean(shifted, axis=0)


def halo(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Sharpen by an unsharp mask whose strength is the variant's, up to halos."""
    sigma = 1.5 * min(images.shape[2:]) / 32
    soft = ndimage.gaussian_filter(images, (0, 0, sigma, sigma), mode="mirror")
    return images + 3 * style.amplitude * style.level(variant) * (images - soft)


def colour_noise(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Add noise of colour alone, without brightness; how much is the variant's."""
    noise = np.stack([random.standard_normal(images.shape[1:], dtype=np.float32) for random in style.each(keys, 3)])
    bright = (noise * np.array([0.299, 0.587, 0.114], dtype=np.float32)[None, :, None, None]).sum(axis=1, keepdims=True)
    return images + 0.14 * style.amplitude * style.level(variant) * (noise - bright)


def resample(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Make the image smaller and large again by straight lines; how small is the variant's, down to a third."""
    height, width = images.shape[2:]
    factor = 1 + 2 * min(style.amplitude, 2.0) * style.level(variant)
    small = ndimage.zoom(
        images, (1, 1, round(height / factor) / height, round(width / factor) / width), order=1, grid_mode=True, mode="nearest"
    )
    return ndimage.zoom(small, (1, 1, height / small.shape[2], width / small.shape[3]), order=1, grid_mode=True, mode="nearest")


def dither(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Add a tile of 4 x 4 pixels over and over, as ordered dithering leaves it; the tile is the variant's."""
    height, width = images.shape[2:]
    tile = style.random(2, variant).permutation(16).reshape(4, 4) / 15 - 0.5
    tiled = np.tile(tile, (height // 4 + 1, width // 4 + 1))[:height, :width].astype(np.float32)
    return images + 0.2 * style.amplitude * tiled[None, None]


def moire(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Lay two gratings of nearly the same direction over each other, which beat; the direction is the variant's."""
    rows, columns = grid(*images.shape[2:])
    cycles = min(images.shape[2:]) / style.random(2).uniform(3.0, 4.5)
    waves = []
    for part in (-0.08, 0.08):
        angle = np.pi * (style.order()[variant] + style.random(1).random()) / style.variants + part
        waves.append(np.sin(np.pi * cycles * (np.cos(angle) * columns + np.sin(angle) * rows)))
    return images + 0.08 * style.amplitude * (waves[0] + waves[1])[None, None].astype(np.float32)


def scratches(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Scratch six short bright lines in random places; their direction is the variant's."""
    height, width = images.shape[2:]
    angle = np.pi * (style.order()[variant] + style.random(1).random()) / style.variants
    length, result = min(height, width) / 4, images.copy()
    steps = np.linspace(-0.5, 0.5, 2 * round(length) + 1) * length
    for row, random in enumerate(style.each(keys, 3)):
        for _ in range(6):
            down, across = random.uniform(0, height - 1), random.uniform(0, width - 1)
            at = np.round(down + steps * np.sin(angle)).astype(int), np.round(across + steps * np.cos(angle)).astype(int)
            inside = (at[0] >= 0) & (at[0] < height) & (at[1] >= 0) & (at[1] < width)
            result[row, :, at[0][inside], at[1][inside]] += 0.3 * style.amplitude
    return result


def rings(images: np.ndarray, variant: int, style: Style, keys: np.ndarray) -> np.ndarray:
    """Strew small rings or discs over the image in random places; the size of the shape is the variant's."""
    height, width = images.shape[2:]
    radius = (1.0 + 0.7 * (style.order()[variant] // 2)) * max(1.0, min(height, width) / 32)
    hollow = style.order()[variant] % 2 == 0
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    result = images.copy()
    for row, random in enumerate(style.each(keys, 3)):
        for _ in range(5):
            away = np.hypot(rows - random.uniform(0, height), columns - random.uniform(0, width))
            shape = np.abs(away - radius) < 0.6 if hollow else away < radius
            result[row] += 0.3 * style.amplitude * shape.astype(np.float32)[None]
    return result
