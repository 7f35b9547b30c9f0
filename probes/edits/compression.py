"""JPEG at the quality of another image: the one trace of a codec that no exchange of pixels carries without the picture under it."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from probes.edits.traces import jpeg

if TYPE_CHECKING:
    from torch import Tensor

QUALITIES = np.arange(4, 96)
"""Qualities that are distinguished; above them the steps are as small as the rounding of pixels."""

LOOKED_AT = 64
"""Most pixels of each side that are used, from the top left corner, where the blocks begin."""

LEAST_DEVIATE = 5.0
"""Standard errors that the evidence for a quality must be above chance: of 92 qualities, a chance alarm in about one image in 40,000."""

NEARLY = 0.7
"""Share of the best agreement that a coarser quality must reach: the steps of a finer one may divide its own."""


NEIGHBOURS = 4
"""Qualities from the coarsest that agrees upwards among which the best is taken."""


def jpeg_quality(images: Tensor) -> np.ndarray:
    """Estimate the quality that images were last saved with as JPEG, from their pixels; (B, 3, H, W) in [0, 1] to (B,) int64, 0 for no trace.

    A JPEG file holds multiples of a step for each of 64 frequencies of brightness, and the 64 steps follow from one quality. For each
    quality: the mean of cos(2 pi c / step) over all coefficients c of at least half a step, which is near 1 where they are multiples and near
    0 where they are not; the coarsest quality that agrees nearly as well as the best is the answer, since a finer one may divide its steps.

    Args:
        images: not resized or moved since they were saved; at least 8 x 8, others have no trace.

    Source: Fan & de Queiroz (2003), section III; the tables are those that Pillow writes.
    """
    import torch
    from scipy.fft import dctn

    size, height, width = len(images), *(min(side, LOOKED_AT) // 8 for side in images.shape[-2:])
    if not height or not width:
        return np.zeros(size, dtype=np.int64)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = ((images[..., : 8 * height, : 8 * width].float().cpu() * 255).round() * weights).sum(dim=1).numpy() - 128
    blocks = grey.reshape(size, height, 8, width, 8).transpose(0, 1, 3, 2, 4)
    coefficients = dctn(blocks, axes=(-2, -1), norm="ortho").reshape(size, height * width, 64)[
        ..., 1:
    ]  # a flat picture has the same mean everywhere
    agreement, deviate = (np.empty((size, len(QUALITIES))) for _ in range(2))
    for place, quality in enumerate(QUALITIES):
        steps = _steps(int(quality))[1:]
        counted = np.abs(coefficients) >= steps / 2
        count = counted.sum(axis=(1, 2))
        total = (np.cos(2 * np.pi * coefficients / steps) * counted).sum(axis=(1, 2))
        agreement[:, place] = total / np.maximum(count, 1)
        deviate[:, place] = total / np.sqrt(np.maximum(count, 1) / 2)
    sure = deviate >= LEAST_DEVIATE
    best = np.where(sure, agreement, -1.0).max(axis=1, keepdims=True)
    near = sure & (agreement >= NEARLY * best)
    # A neighbour of the true quality agrees nearly as well, since its steps are nearly the same: the best of those that follow the coarsest.
    first = near.argmax(axis=1)
    around = first[:, None] + np.arange(NEIGHBOURS)
    there = np.where(
        around < len(QUALITIES), np.take_along_axis(np.where(sure, agreement, -1.0), around.clip(max=len(QUALITIES) - 1), axis=1), -1.0
    )
    return np.where(near.any(axis=1), QUALITIES[(first + there.argmax(axis=1)).clip(max=len(QUALITIES) - 1)], 0).astype(np.int64)


def exchange_compression(images: Tensor, partner: Tensor) -> Tensor:
    """Save images as JPEG at the quality of a partner, where the partner bears the trace of one; both (B, 3, H, W) in [0, 1].

    Nothing of the partner's picture goes over. An image whose partner bears no trace stays as it is, its own trace included.

    Args:
        images: the images.
        partner: whose quality is taken.
    """
    import torch

    edited = images.clone()
    qualities = jpeg_quality(partner)
    for quality in np.unique(qualities[qualities > 0]):
        rows = torch.from_numpy(np.flatnonzero(qualities == quality))
        edited[rows] = jpeg(images[rows], quality=int(quality))
    return edited


@cache
def _steps(quality: int) -> np.ndarray:
    """Return the steps of brightness that Pillow rounds to at a quality, by frequency, (64,) float64."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file).quantization[0], dtype=np.float64)  # type: ignore[attr-defined]
