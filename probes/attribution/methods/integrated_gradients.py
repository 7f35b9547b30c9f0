"""Integrated gradients: a batch of images at all their steps, one forward pass for every number that is explained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from probes.attribution.methods.differentiable import AttributionTarget


def mean_gradients(lens: AttributionTarget, images: Tensor, directions: Tensor) -> Tensor:
    """Average the gradient of f(x) = z(x) . v / |z(x)| on the way from the absent image to each image.

    Args:
        lens: the encoder and its settings.
        images: (B, 3, H, W).
        directions: v, (S, B, D).

    Returns:
        (S, B, 3, H, W). Times (image - absent) and summed it is f(image) - f(absent), up to the error of `lens.steps` points.

    Source: Sundararajan, Taly & Yan (2017), eq. 1; Gauss-Legendre points as in captum's IntegratedGradients, whose maps these are.
    """
    import torch

    nodes, weights = (torch.from_numpy(part).float() for part in np.polynomial.legendre.leggauss(lens.steps))
    way, weights = (1 + nodes.view(-1, 1, 1, 1, 1)) / 2, weights / 2
    found = torch.zeros((len(directions), *images.shape))
    for part in torch.arange(len(images)).split(max(1, lens.points // lens.steps)):
        for some in torch.arange(lens.steps).split(max(1, lens.points // len(part))):
            points = lens.absent + way[some] * (images[part] - lens.absent)  # (k, b, 3, H, W)
            leaf = points.flatten(0, 1).requires_grad_()
            unit = lens.unit(leaf)
            for number, direction in enumerate(directions):
                value = (unit.view(len(some), len(part), -1) * direction[part]).sum()
                (slope,) = torch.autograd.grad(value, leaf, retain_graph=number + 1 < len(directions))
                found[number, part] += torch.einsum("k,kbchw->bchw", weights[some], slope.reshape(points.shape))
    return found


def integrated_gradients(lens: AttributionTarget, images: Tensor, directions: Tensor) -> Tensor:
    """Attribute to each pixel its part of f(image) - f(absent), colours summed; signed, (S, B, H, W)."""
    return pixel_maps(lens, images, mean_gradients(lens, images, directions))


def pixel_maps(lens: AttributionTarget, images: Tensor, gradients: Tensor) -> Tensor:
    """Turn mean gradients (S, B, 3, H, W) into maps (S, B, H, W)."""
    return ((images - lens.absent) * gradients).sum(dim=2)
