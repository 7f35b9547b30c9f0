"""Occlusion: cover a window, see how far the number falls; needs no gradients, so it serves any callable."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from probes.attribution.methods.differentiable import AttributionTarget


def positions(length: int, window: int, stride: int) -> list[int]:
    """Give the starts of windows that cover a side; the last one is cut by the image's end, as in captum."""
    count = 1 + -(-(length - window) // stride)
    return [number * stride for number in range(count)]


def occlusion(lens: AttributionTarget, images: Tensor, directions: Tensor) -> Tensor:
    """Give each pixel the mean fall of f when a window over it is covered by the absent colour.

    One forward pass of a covered image serves all directions.

    Args:
        lens: the encoder and its settings; windows are `lens.window` pixels a side, half of that apart.
        images: (B, 3, H, W).
        directions: (S, B, D).

    Returns:
        (S, B, H, W).

    Source: Zeiler & Fergus (2014); equal to captum's Occlusion with the same windows.
    """
    import torch

    height, width = images.shape[-2:]
    found = torch.zeros((len(directions), len(images), height, width))
    covered = torch.zeros((height, width))
    before = (lens.embed(images) * directions).sum(dim=2)  # (S, B)
    tall, wide = min(lens.window, height), min(lens.window, width)
    for top in positions(height, tall, max(1, tall // 2)):
        for left in positions(width, wide, max(1, wide // 2)):
            hole = (slice(top, top + tall), slice(left, left + wide))
            changed = images.clone()
            changed[..., hole[0], hole[1]] = lens.absent
            fall = before - (lens.embed(changed) * directions).sum(dim=2)
            found[..., hole[0], hole[1]] += fall[..., None, None]
            covered[hole] += 1
    return found / covered
