"""Integrated gradients: a batch of images at all their steps, one forward pass for every number that is explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from probes.attribution.methods.differentiable import AttributionTarget


FIRST_STEPS = 4
"""Points that adaptive integrated gradients start with."""


_ROUNDING = 1e-6
"""Difference of two cosines in float32 that is no error."""


@dataclass(frozen=True)
class Quadrature:
    """Mean gradients with as many points as each image needs.

    Args:
        gradients: (S, B, 3, H, W).
        passes: (B,) int64 forward passes of each image: its points, those of the attempts before, and one for f(image).
        error: (S, B) completeness error as a share of |f(image) - f(baseline)|.
    """

    gradients: Tensor
    passes: Tensor
    error: Tensor


def mean_gradients(encoder: AttributionTarget, images: Tensor, directions: Tensor) -> Tensor:
    """Average the gradient of f(x) = z(x) . v / |z(x)| on the way from the baseline image to each image.

    Args:
        encoder: the encoder and its settings.
        images: (B, 3, H, W).
        directions: v, (S, B, D).

    Returns:
        (S, B, 3, H, W). Times (image - baseline) and summed it is f(image) - f(baseline), up to the error of `encoder.steps` points,
        or of fewer where `encoder.tolerance` allows (see `quadrature`).

    Source: Sundararajan, Taly & Yan (2017), eq. 1; Gauss-Legendre points as in captum's IntegratedGradients, whose maps these are.
    """
    if encoder.tolerance is not None:
        return quadrature(encoder, images, directions).gradients
    return _mean_gradients(encoder, images, directions, encoder.steps)


def quadrature(encoder: AttributionTarget, images: Tensor, directions: Tensor) -> Quadrature:
    """Average the gradient with few points first, and twice as many for the images whose attributions do not add up.

    An image is settled when |sum of its attributions - (f(image) - f(baseline))| is at most `encoder.tolerance` times
    |f(image) - f(baseline)| for every direction, or when it has `encoder.steps` points.

    Args:
        encoder: the encoder and its settings; without a tolerance the points are `encoder.steps` at once.
        images: (B, 3, H, W).
        directions: (S, B, D).
    """
    import torch

    baseline = encoder.embed(encoder.baseline.expand_as(images[:1]).contiguous())
    change = ((encoder.embed(images) - baseline) * directions).sum(dim=2)  # (S, B)
    gradients, error = torch.zeros((len(directions), *images.shape)), torch.zeros(directions.shape[:2])
    passes, left = torch.ones(len(images), dtype=torch.int64), torch.arange(len(images))
    tolerance = 0.0 if encoder.tolerance is None else encoder.tolerance
    steps = encoder.steps if encoder.tolerance is None else min(FIRST_STEPS, encoder.steps)
    while len(left):
        gradients[:, left] = _mean_gradients(encoder, images[left], directions[:, left], steps)
        passes[left] += steps
        gap = (pixel_maps(encoder, images[left], gradients[:, left]).sum(dim=(2, 3)) - change[:, left]).abs()
        rounding = _ROUNDING * directions[:, left].norm(dim=2)
        error[:, left] = torch.where(gap > rounding, gap / change[:, left].abs(), 0.0)
        if steps == encoder.steps:
            break
        left = left[~(error[:, left] <= tolerance).all(dim=0)]
        steps = min(2 * steps, encoder.steps)
    return Quadrature(gradients, passes, error)


def _mean_gradients(encoder: AttributionTarget, images: Tensor, directions: Tensor, count: int) -> Tensor:
    import torch

    nodes, weights = (torch.from_numpy(part).float() for part in np.polynomial.legendre.leggauss(count))
    path, weights = (1 + nodes.view(-1, 1, 1, 1, 1)) / 2, weights / 2
    gradients = torch.zeros((len(directions), *images.shape))
    for part in torch.arange(len(images)).split(max(1, encoder.points // count)):
        for steps in torch.arange(count).split(max(1, encoder.points // len(part))):
            points = encoder.baseline + path[steps] * (images[part] - encoder.baseline)  # (k, b, 3, H, W)
            leaf = points.flatten(0, 1).requires_grad_()
            unit = encoder.unit(leaf)
            for number, direction in enumerate(directions):
                value = (unit.view(len(steps), len(part), -1) * direction[part]).sum()
                (slope,) = torch.autograd.grad(value, leaf, retain_graph=number + 1 < len(directions))
                gradients[number, part] += torch.einsum("k,kbchw->bchw", weights[steps], slope.reshape(points.shape))
    return gradients


def integrated_gradients(encoder: AttributionTarget, images: Tensor, directions: Tensor) -> Tensor:
    """Attribute to each pixel its part of f(image) - f(baseline), colours summed; signed, (S, B, H, W).

    Args:
        encoder: the encoder and its settings.
        images: (B, 3, H, W).
        directions: (S, B, D).
    """
    return pixel_maps(encoder, images, mean_gradients(encoder, images, directions))


def pixel_maps(encoder: AttributionTarget, images: Tensor, gradients: Tensor) -> Tensor:
    """Turn mean gradients into maps, (S, B, H, W).

    Args:
        encoder: the encoder, for its baseline.
        images: (B, 3, H, W).
        gradients: (S, B, 3, H, W), from `mean_gradients`.
    """
    return ((images - encoder.baseline) * gradients).sum(dim=2)
