"""Blur: defocus, glass, motion and zoom. Images (B, 3, H, W) float32 in [0, 1] to the same; one random stream an image."""

from __future__ import annotations

import math

import numpy as np

from probes.corruptions.noise import Streams
from probes.corruptions.severity import CorruptionSettings


def smooth(images: np.ndarray, sigma: float, *, truncate: float = 4.0, mode: str = "nearest") -> np.ndarray:
    """Blur the last two axes by a Gaussian of `sigma` pixels."""
    from scipy.ndimage import gaussian_filter

    return images if sigma <= 0 else gaussian_filter(images, sigma=(0,) * (images.ndim - 2) + (sigma, sigma), truncate=truncate, mode=mode)


def defocus_blur(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Average over a disc with a soft edge; the numbers are its radius (pixels, scaled) and the softness of the edge (pixels)."""
    import torch
    from torch.nn import functional as F

    kernel = torch.from_numpy(disc(settings.numbers[0] * settings.scale, settings.numbers[1]))
    radius = len(kernel) // 2
    height, width = images.shape[2:]
    radius = min(radius, height - 1, width - 1)
    middle = len(kernel) // 2
    kernel = kernel[middle - radius : middle + radius + 1, middle - radius : middle + radius + 1]
    padded = F.pad(torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)), (radius,) * 4, mode="reflect")
    return F.conv2d(padded, (kernel / kernel.sum()).expand(3, 1, -1, -1).contiguous(), groups=3).numpy()


def disc(radius: float, softness: float) -> np.ndarray:
    """Return a disc on whole pixels, smoothed by a Gaussian of 3 x 3 (5 x 5 above radius 8) taps, of sum 1, (2 r + 1, 2 r + 1) float32."""
    taps = 1 if radius <= 8 else 2
    reach = math.floor(radius) + taps
    across = np.arange(-reach, reach + 1)
    inside = (across[:, None] ** 2 + across**2 <= radius**2).astype(np.float64)
    edge = np.exp(-(np.arange(-taps, taps + 1) ** 2) / (2 * softness**2))
    edge /= edge.sum()
    for _ in range(2):
        inside = np.stack([np.convolve(row, edge, mode="same") for row in inside]).T
    return (inside / inside.sum()).astype(np.float32)


def glass_blur(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Take every pixel from a near place, between two blurs.

    The numbers: the blur (pixels, scaled), how far a pixel is taken from, and the rounds. The authors' code means to exchange two pixels, but
    NumPy's views make it copy one onto the other; the published images are those of the copy, and so are these.
    """
    sigma, reach, rounds = settings.numbers[0] * settings.scale, max(1, round(settings.numbers[1] * settings.scale)), settings.numbers[2]
    moved = np.floor(smooth(images, sigma) * 255 + 1e-3) / 255
    count, _, height, width = images.shape
    every = np.arange(count)
    steps = np.stack([stream.integers(-reach, reach, size=(rounds, height, width, 2)) for stream in streams])
    for turn in range(rounds):
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                down, right = row + steps[:, turn, row, column, 0], column + steps[:, turn, row, column, 1]
                moved[:, :, row, column] = moved[every, :, down, right]
    return smooth(moved, sigma)


def motion_blur(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Smear along a line of random angle in [-45, 45] degrees; the numbers are its length and the spread of its weight (pixels, scaled)."""
    angles = np.array([stream.uniform(-45, 45) for stream in streams])
    return smear(images, settings.numbers[0] * settings.scale, settings.numbers[1] * settings.scale, angles)


def smear(images: np.ndarray, length: float, sigma: float, angles: np.ndarray) -> np.ndarray:
    """Average each image with itself moved step by step along its angle, with half a Gaussian as weight, edges repeated.

    Args:
        images: (B, C, H, W).
        length: in pixels; 2 length + 1 steps.
        sigma: spread of the weight in pixels.
        angles: (B,) in degrees.

    Source: ImageMagick's motion blur, which the data sets use, as its documentation describes it.
    """
    steps = min(2 * round(length) + 1, max(images.shape[2:]))
    weight = np.exp(-(np.arange(steps) ** 2) / (2 * max(sigma, 1e-6) ** 2))
    weight /= weight.sum()
    blurred = np.zeros_like(images)
    for number, angle in enumerate(np.radians(angles)):
        padded = np.pad(images[number], ((0, 0), (steps, steps), (steps, steps)), mode="edge")
        for step in range(steps):
            down, right = steps + round(step * math.sin(angle)), steps + round(step * math.cos(angle))
            blurred[number] += weight[step] * padded[:, down : down + images.shape[2], right : right + images.shape[3]]
    return blurred


def zoom_blur(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Average the image with itself enlarged about its centre; the numbers are the end and the step of the enlargement from 1."""
    factors = np.arange(1, settings.numbers[0] - 1e-9, settings.numbers[1])
    return (images + sum(enlarged(images, float(factor)) for factor in factors)) / (len(factors) + 1)


def enlarged(images: np.ndarray, factor: float) -> np.ndarray:
    """Enlarge about the centre and cut to the old size, bilinear, (B, C, H, W)."""
    import torch
    from torch.nn import functional as F

    if factor == 1:
        return images
    tensor = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
    shrink = torch.tensor([[1 / factor, 0, 0], [0, 1 / factor, 0]], dtype=torch.float32).expand(len(tensor), 2, 3)
    grid = F.affine_grid(shrink, list(tensor.shape), align_corners=True)
    return F.grid_sample(tensor, grid, mode="bilinear", padding_mode="border", align_corners=True).numpy()
