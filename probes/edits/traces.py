"""Edits that cover the traces of cameras, codecs and generators: noise on top, and JPEG once more."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

NOISE = 0.06
"""Standard deviation of the noise, of 1: fifteen 8-bit steps."""

QUALITY = 50
"""JPEG quality: coarse enough to lay its own blocks over those of a better one."""


def noise(images: Tensor, keys: np.ndarray, *, spread: float = NOISE) -> Tensor:
    """Add independent Gaussian noise to every pixel and channel; (B, 3, H, W) in [0, 1] to the same.

    Args:
        images: the images.
        keys: (B,) int, one seed for each image, so that the noise does not depend on the batch.
        spread: standard deviation of the noise.
    """
    import torch

    drawn = np.stack([np.random.default_rng([int(key), 1]).standard_normal(images.shape[1:], dtype=np.float32) for key in keys])
    return (images + spread * torch.from_numpy(drawn).to(images)).clamp(0, 1)


def jpeg(images: Tensor, *, quality: int = QUALITY) -> Tensor:
    """Encode as JPEG with halved colour resolution and decode again; (B, 3, H, W) in [0, 1] to the same."""
    import torch
    from PIL import Image

    pixels = (images * 255).round().clamp(0, 255).to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
    decoded = np.empty_like(pixels)
    for row, image in enumerate(pixels):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=2)
        decoded[row] = np.asarray(Image.open(buffer))
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).contiguous().to(images) / 255
