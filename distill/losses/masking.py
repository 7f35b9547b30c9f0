"""Views with most of their patches hidden, for masked feature distillation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
GRID = 8
"""Patches along a side: 64 in all, of 4 x 4 pixels at 32 x 32."""


def patch_mask(n: int, ratio: float, *, seed: int, epoch: int) -> Tensor:
    """Draw which patches of each of n images are hidden in an epoch: boolean, shape (n, GRID, GRID), True where hidden.

    Every image loses the same number of patches, `round(ratio * GRID ** 2)`. The same arguments give the same mask.

    Args:
        n: number of images.
        ratio: share of hidden patches, in [0, 1].
        seed: of the mask.
        epoch: of the training.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + 600_000 + epoch)
    hidden = round(ratio * GRID * GRID)
    ranks = torch.rand(n, GRID * GRID, generator=generator).argsort(dim=1).argsort(dim=1)
    return (ranks < hidden).view(n, GRID, GRID)


def hide(images: Tensor, mask: Tensor, fill: Tensor) -> Tensor:
    """Paint the hidden patches in one colour.

    Args:
        images: in [0, 1], shape (N, 3, H, W).
        mask: from `patch_mask`, shape (N, GRID, GRID).
        fill: colour that the student's normalisation maps to zero, shape (1, 3, 1, 1).

    Returns:
        New images, shape (N, 3, H, W).
    """
    rows = torch.arange(images.shape[-2]) * GRID // images.shape[-2]
    columns = torch.arange(images.shape[-1]) * GRID // images.shape[-1]
    whole = mask[:, rows][:, :, columns].unsqueeze(1).to(images.device)
    return torch.where(whole, fill.to(images), images)


@contextlib.contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch norms unchanged inside the block: students are tested on whole images."""
    layers = [layer for layer in module.modules() if isinstance(layer, BATCH_NORMS)]
    before = [layer.momentum for layer in layers]
    counts = [None if layer.num_batches_tracked is None else layer.num_batches_tracked.clone() for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum, count in zip(layers, before, counts, strict=True):
            layer.momentum = momentum
            if count is not None:
                layer.num_batches_tracked.copy_(count)
