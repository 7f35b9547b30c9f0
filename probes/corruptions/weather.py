"""Weather: snow, frost, fog and brightness. Images (B, 3, H, W) float32 in [0, 1] to the same; one random stream an image."""

from __future__ import annotations

import numpy as np

from probes.corruptions.blur import enlarged, smear
from probes.corruptions.noise import Streams
from probes.corruptions.severity import CorruptionSettings

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)[:, None, None]


def snow(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Whiten and lay smeared flakes on top.

    The numbers: mean and spread of the flakes' field, its enlargement, the threshold below which there is no flake, length and spread of the
    smear (pixels, scaled), and how much of the image's own colour stays.
    """
    mean, spread, zoom, threshold, length, sigma, stays = settings.numbers
    field = np.stack([stream.normal(mean, spread, size=(1, *images.shape[2:])) for stream in streams]).astype(np.float32)
    flakes = enlarged(field, zoom * max(settings.scale, 1.0)).copy()
    flakes[flakes < threshold] = 0
    angles = np.array([stream.uniform(-135, -45) for stream in streams])
    flakes = smear(flakes.clip(0, 1), length * settings.scale, sigma * settings.scale, angles)
    grey = (images * LUMA).sum(axis=1, keepdims=True)
    whitened = stays * images + (1 - stays) * np.maximum(images, grey * 1.5 + 0.5)
    return whitened + flakes + flakes[:, :, ::-1, ::-1]


def frost(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Mix with a texture of ice; the numbers are the weights of image and ice.

    The data sets cut the ice out of six photographs. This one is drawn: ridges of a plasma field on a bluish ground, so that the numbers
    are not comparable with the published ones. Source of the texture: ours.
    """
    field = plasma(images.shape[2:], 1.8, streams)  # (B, 1, H, W) in [0, 1]
    ridges = 1 - np.abs(2 * field - 1) ** 0.5
    ground = np.array([0.55, 0.62, 0.70], dtype=np.float32)[:, None, None]
    ice = np.clip(ground * (0.5 + 0.5 * field) + 0.6 * ridges, 0, 1)
    return settings.numbers[0] * images + settings.numbers[1] * ice


def fog(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Add a plasma field and keep the greatest value; the numbers are its strength and how fast it gets smooth."""
    strength, decay = settings.numbers
    brightest = images.max(axis=(1, 2, 3), keepdims=True)
    return (images + strength * plasma(images.shape[2:], decay, streams)) * brightest / (brightest + strength)


def brightness(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Raise V of hue, saturation and value; with hue and saturation kept this multiplies all three colours alike."""
    value = images.max(axis=1, keepdims=True)
    raised = np.minimum(value + settings.numbers, 1)
    return np.where(value > 0, images * raised / np.maximum(value, 1e-6), raised)


def plasma(size: tuple[int, int], decay: float, streams: Streams) -> np.ndarray:
    """Draw clouds by the diamond-square method on a torus, (B, 1, H, W) in [0, 1].

    Every step halves the distance of known points and divides the roughness by `decay`; as in the data sets the spread of a step is the square
    of its roughness.

    Args:
        size: H and W; the square drawn is the next power of two.
        decay: above 1; greater is smoother.
        streams: one random stream an image.

    Source: Fournier, Fussell & Carpenter (1982).
    """
    side = 1 << (max(*size, 2) - 1).bit_length()
    drawn = np.stack([stream.uniform(-1, 1, size=(side, side)) for stream in streams])
    field = np.zeros_like(drawn)
    step, rough = side, 100.0
    while step >= 2:
        half = step // 2
        corners = field[:, ::step, ::step]
        across = corners + np.roll(corners, -1, axis=2)
        centre = (across + np.roll(across, -1, axis=1)) / 4
        field[:, half::step, half::step] = centre + rough**2 * drawn[:, half::step, half::step]
        centres = field[:, half::step, half::step]
        sides = corners + np.roll(corners, -1, axis=2) + centres + np.roll(centres, 1, axis=1)
        field[:, ::step, half::step] = sides / 4 + rough**2 * drawn[:, ::step, half::step]
        sides = corners + np.roll(corners, -1, axis=1) + centres + np.roll(centres, 1, axis=2)
        field[:, half::step, ::step] = sides / 4 + rough**2 * drawn[:, half::step, ::step]
        step, rough = half, rough / decay
    field -= field.min(axis=(1, 2), keepdims=True)
    field /= np.maximum(field.max(axis=(1, 2), keepdims=True), 1e-12)
    return field[:, None, : size[0], : size[1]].astype(np.float32)
