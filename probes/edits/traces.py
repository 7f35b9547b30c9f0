"""Edits of the traces that cameras, codecs and generators leave: noise on top, the noise of another image, and JPEG once more."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from probes.edits.spectrum import exchange_sharpness

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
    """Encode as JPEG with halved colour resolution and decode again.

    Args:
        images: (B, 3, H, W) in [0, 1].
        quality: JPEG quality, 1 to 95.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    import torch
    from PIL import Image

    pixels = (images * 255).round().clamp(0, 255).to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
    decoded = np.empty_like(pixels)
    for row, image in enumerate(pixels):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=2)
        decoded[row] = np.asarray(Image.open(buffer))
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).contiguous().to(images) / 255


def exchange_noise(images: Tensor, partner: Tensor, keys: np.ndarray) -> Tensor:
    """Take the noise of a partner, in another order; both (B, 3, H, W) in [0, 1].

    What a median of 3 x 3 pixels takes out of the partner is strewn over the image, which is rid of its own by the same median. The order
    is drawn, so that the strength, colour and kind of the noise go over and no line, outline or texture does.

    Args:
        images: the images.
        partner: where the noise comes from.
        keys: (B,) int, one seed for each image.

    Source: ours.
    """
    import torch

    residual = (partner - median(partner)).flatten(2)
    order = np.stack([np.random.default_rng([int(key), 2]).permutation(residual.shape[-1]) for key in keys])
    strewn = residual.gather(2, torch.from_numpy(order)[:, None].expand_as(residual).to(residual.device))
    return (median(images) + strewn.view_as(images)).clamp(0, 1)


def exchange_traces(images: Tensor, partner: Tensor, keys: np.ndarray) -> Tensor:
    """Take all of noise and sharpness from a partner: its noise first, then its loudness in each ring.

    The loudness alone makes no noise where there is none to be made louder, and the noise alone does not blur.

    Args:
        images: (B, 3, H, W) in [0, 1].
        partner: images of the same shape and range, one for each.
        keys: (B,) int, one seed for each image.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    return exchange_sharpness(exchange_noise(images, partner, keys), partner)


def median(images: Tensor) -> Tensor:
    """Compute the median of 3 x 3 pixels around each, edges repeated; (B, C, H, W) to the same."""
    import torch
    from torch.nn import functional as F

    height, width = images.shape[-2:]
    wide = F.pad(images, (1, 1, 1, 1), mode="replicate")
    around = [wide[..., down : down + height, across : across + width] for down in range(3) for across in range(3)]
    return torch.stack(around).median(dim=0).values
