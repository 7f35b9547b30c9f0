"""Object masks without labels: cut each image in two by the teacher's patch embeddings, and check the cut against the same mask elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from probes.attribution.methods.spatial_layers import last_spatial_layer, trace
from probes.attribution.metrics.energy import border_region
from probes.result import Score
from probes.stats.intervals import as_score, mean_interval

if TYPE_CHECKING:
    from torch import Tensor

    from probes.attribution.methods.differentiable import AttributionTarget

FINEST = 16
"""Cells a side beyond which the patches are averaged: an eigenproblem of 256 patches an image is enough."""
_LEAST = 7
_AREA = (0.02, 0.9)
"""A smaller or larger part of the image is not an object in front of a background."""


@dataclass(frozen=True)
class Foreground:
    """Masks of objects.

    Args:
        masks: (n, H, W) bool, or None where there are none to be trusted.
        reason: where they come from, or why there are none.
        quality: see `_content_kept`, or None where it was not measured.
    """

    masks: np.ndarray | None
    reason: str
    quality: Score | None = None


def discover(encoder: AttributionTarget, images: Tensor, *, seed: int) -> Foreground:
    """Cut images into object and background by the teacher's spatial features, and keep the masks only if they pass a check.

    Args:
        encoder: the teacher, prepared for attribution.
        images: (n, 3, H, W) float in [0, 1].
        seed: seed of the check.

    Returns:
        Masks (n, H, W), empty for an image without a usable cut, or None with the reason.

    Source: the cut is TokenCut's (Wang et al. 2022) with non-negative cosines for their threshold; the check is ours.
    """
    import torch
    from torch import nn

    layer = None
    if isinstance(encoder.encode, nn.Module):
        layer = last_spatial_layer(encoder.encode, trace(encoder.encode, images[:2]), at_least=_LEAST)
    if layer is None:
        return Foreground(None, f"no masks: the teacher has no feature map of at least {_LEAST} x {_LEAST} cells")
    parts = []
    for start in range(0, len(images), encoder.batch):
        with torch.no_grad(), layer.caught() as outputs:
            encoder.encode(images[start : start + encoder.batch])
        features = layer.shape.to_nchw(outputs[-1]).float()
        grid = [min(side, FINEST) for side in features.shape[-2:]]
        parts.append(torch.nn.functional.adaptive_avg_pool2d(features, grid).cpu())
    masks = cut(torch.cat(parts), (int(images.shape[-2]), int(images.shape[-1])))
    area = masks.mean(axis=(1, 2))
    fit = (area >= _AREA[0]) & (area <= _AREA[1])
    masks[~fit] = False
    if fit.sum() < max(8, len(fit) / 2):
        return Foreground(None, f"no masks: only {int(fit.sum())} of {len(fit)} images have a cut between 2 % and 90 % of the area")
    quality = _content_kept(encoder, images[torch.from_numpy(fit)], masks[fit], seed=seed)
    if quality.low <= 0:
        return Foreground(None, "no masks: the teacher sees no more of the image in its mask than in the same mask elsewhere", quality)
    return Foreground(masks, f"discovered in the teacher's {layer.name} ({layer.shape.grid[0]} x {layer.shape.grid[1]} cells)", quality)


def cut(features: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Divide each image in two by the second eigenvector of the normalised cut of its patches; the part that touches the edge less is the object.

    Args:
        features: (n, C, h, w).
        size: (H, W) of the masks.

    Returns:
        (n, H, W) bool.
    """
    import torch
    from torch.nn import functional as F

    n, _, height, width = features.shape
    patches = features.flatten(2).transpose(1, 2).double()  # (n, P, C)
    patches = F.normalize(patches - patches.mean(dim=(0, 1)), dim=-1)
    affinity = (patches @ patches.transpose(1, 2)).clamp_min(0) + 1e-3
    scale = affinity.sum(dim=-1).rsqrt()
    _, vectors = torch.linalg.eigh(scale[:, :, None] * affinity * scale[:, None, :])
    second = scale * vectors[:, :, -2]  # the largest of this matrix are the smallest of its Laplacian
    second = second - second.mean(dim=1, keepdim=True)
    fine = F.interpolate(second.view(n, 1, height, width), size=size, mode="bilinear", align_corners=False)[:, 0]
    masks = (fine > 0).numpy()
    edge = border_region(*size)
    inverted = masks[:, edge].mean(axis=1) > masks[:, ~edge].mean(axis=1)
    masks[inverted] = ~masks[inverted]
    return masks


def _content_kept(encoder: AttributionTarget, images: Tensor, masks: np.ndarray, *, seed: int) -> Score:
    """Measure how much nearer the embedding of what the mask shows is to the whole image's than with the mask shifted at random.

    Cosine minus cosine, paired over images; chance 0. Shifts go around the edges, so that shape and area are kept.
    """
    import torch

    rng = np.random.default_rng(seed)
    height, width = masks.shape[1:]
    shifted = np.stack([np.roll(mask, (rng.integers(height), rng.integers(width)), axis=(0, 1)) for mask in masks])
    whole = encoder.embed(images)
    near = [
        (encoder.embed(torch.where(torch.from_numpy(visible)[:, None], images, encoder.baseline)) * whole).sum(dim=1).numpy()
        for visible in (masks, shifted)
    ]
    gain = (near[0] - near[1]).astype(np.float64)
    return as_score(gain.mean(), mean_interval(gain), chance=0.0, direction="neutral", bounds=(-2.0, 2.0))
