"""Occlusion: cover a window and measure how far the number falls; it needs no gradients, so it serves any callable."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from probes.attribution.methods.differentiable import AttributionTarget


def positions(length: int, window: int, stride: int) -> list[int]:
    """Return the first pixels of the windows that cover a side; the last window is cut by the image's end, as in captum.

    Args:
        length: pixels of the side.
        window: pixels of a window.
        stride: pixels from one window to the next.
    """
    count = 1 + -(-(length - window) // stride)
    return [number * stride for number in range(count)]


def occlusion(encoder: AttributionTarget, images: Tensor, directions: Tensor) -> Tensor:
    """Attribute to each pixel the mean fall of f when a window over it is covered by the baseline colour.

    One forward pass of a covered image serves all directions.

    Args:
        encoder: the encoder and its settings; windows are `encoder.window` pixels a side, half of that apart.
        images: (B, 3, H, W).
        directions: (S, B, D).

    Returns:
        (S, B, H, W).

    Source: Zeiler & Fergus (2014); equal to captum's Occlusion with the same windows.
    """
    import torch

    height, width = images.shape[-2:]
    falls = torch.zeros((len(directions), len(images), height, width))
    covered = torch.zeros((height, width))
    before = (encoder.embed(images) * directions).sum(dim=2)  # (S, B)
    tall, wide = min(encoder.window, height), min(encoder.window, width)
    for top in positions(height, tall, max(1, tall // 2)):
        for left in positions(width, wide, max(1, wide // 2)):
            window = (slice(top, top + tall), slice(left, left + wide))
            changed = images.clone()
            changed[..., window[0], window[1]] = encoder.baseline
            fall = before - (encoder.embed(changed) * directions).sum(dim=2)
            falls[..., window[0], window[1]] += fall[..., None, None]
            covered[window] += 1
    return falls / covered
