"""Shuffle the patches of an image: local texture stays, outline and layout go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def patch_shuffle(images: Tensor, keys: np.ndarray, *, grid: int) -> Tensor:
    """Put the `grid` x `grid` patches of each image into an order of its own, never the order they were in.

    Sides that `grid` does not divide keep their last rows and columns where they are.

    Args:
        images: (B, 3, H, W).
        keys: (B,) int, one seed for each image, so that the order does not depend on the batch.
        grid: patches along each side, at least 2.

    Source: Naseer et al. (2021), as a test of what survives without a layout.
    """
    import torch

    height, width = images.shape[-2] // grid, images.shape[-1] // grid
    if min(height, width) == 0:
        raise ValueError(f"`grid` must be at most the side of the images, got {grid} for {tuple(images.shape[-2:])}; use a smaller grid.")
    whole = images[..., : grid * height, : grid * width]
    patches = whole.unfold(2, height, height).unfold(3, width, width)  # (B, 3, grid, grid, h, w)
    patches = patches.reshape(*images.shape[:2], grid * grid, height, width)
    order = torch.from_numpy(np.stack([_order(int(key), grid * grid) for key in keys])).to(images.device)
    moved = patches.gather(2, order[:, None, :, None, None].expand_as(patches))
    moved = moved.reshape(*images.shape[:2], grid, grid, height, width).transpose(3, 4).reshape(whole.shape)
    result = images.clone()
    result[..., : grid * height, : grid * width] = moved
    return result


def _order(key: int, patches: int) -> np.ndarray:
    rng = np.random.default_rng([key, patches])
    while True:
        order = rng.permutation(patches)
        if (order != np.arange(patches)).any():
            return order
