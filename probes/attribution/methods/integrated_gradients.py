"""Integrated gradients: a batch of images at all their steps, one forward pass for every number that is explained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from probes.attribution.methods.differentiable import AttributionTarget


def mean_gradients(encoder: AttributionTarget, images: Tensor, directions: Tensor) -> Tensor:
    """Average the gradient of f(x) = z(x) . v / |z(x)| on the way from the baseline image to each image.

    Args:
        encoder: the encoder and its settings.
        images: (B, 3, H, W).
        directions: v, (S, B, D).

    Returns:
        (S, B, 3, H, W). Times (image - baseline) and summed it is f(image) - f(baseline), up to the error of `encoder.steps` points.

    Source: Sundararajan, Taly & Yan (2017), eq. 1; Gauss-Legendre points as in captum's IntegratedGradients, whose maps these are.
    """
    import torch

    nodes, weights = (torch.from_numpy(part).float() for part in np.polynomial.legendre.leggauss(encoder.steps))
    path, weights = (1 + nodes.view(-1, 1, 1, 1, 1)) / 2, weights / 2
    gradients = torch.zeros((len(directions), *images.shape))
    for part in torch.arange(len(images)).split(max(1, encoder.points // encoder.steps)):
        for steps in torch.arange(encoder.steps).split(max(1, encoder.points // len(part))):
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
