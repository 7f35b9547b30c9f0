"""The blur that divides the coarse half of an image from the fine one, for all edits alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

COARSE = 1 / 16
"""Width of the blur that divides coarse from fine, as a share of the shorter side: two pixels of 32."""


def gaussian(images: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian of standard deviation `sigma` pixels, edges mirrored.

    Args:
        images: (B, C, H, W).
        sigma: standard deviation in pixels, above 0.

    Returns:
        (B, C, H, W).
    """
    import torch
    from torch.nn import functional as F

    channels = images.shape[1]
    for axis, side in ((2, images.shape[2]), (3, images.shape[3])):
        radius = min(math.ceil(3 * sigma), side - 1)
        offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
        kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
        kernel = (kernel / kernel.sum()).view(1, 1, -1, 1) if axis == 2 else (kernel / kernel.sum()).view(1, 1, 1, -1)
        margin = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        images = F.conv2d(F.pad(images, margin, mode="reflect"), kernel.expand(channels, *kernel.shape[1:]), groups=channels)
    return images


def coarse(images: Tensor) -> Tensor:
    """Return the coarse half of an image, (B, C, H, W) to the same; what is left over is the fine half."""
    return gaussian(images, COARSE * min(images.shape[-2:]))
