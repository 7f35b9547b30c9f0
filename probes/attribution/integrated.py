"""Integrated gradients, by captum, a batch of images and all steps at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from probes.attribution.methods import Lens


def mean_gradients(lens: Lens, images: Tensor, directions: Tensor) -> Tensor:
    """Average the gradient of f(x) = z(x) . v / |z(x)| on the way from the absent image to each image.

    Args:
        lens: the encoder and its settings.
        images: (B, 3, H, W).
        directions: v, (S, B, D).

    Returns:
        (S, B, 3, H, W). Times (image - absent) and summed it is f(image) - f(absent), up to the error of `lens.steps` points.

    Source: Sundararajan, Taly & Yan (2017), eq. 1; Gauss-Legendre points as in captum.
    """
    import torch
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(lens.scalar, multiply_by_inputs=False)
    at_once = max(1, lens.batch // lens.steps)
    absent = lens.absent.expand_as(images)
    found = torch.zeros((len(directions), *images.shape))
    for number, direction in enumerate(directions):
        for start in range(0, len(images), at_once):
            part = slice(start, start + at_once)
            found[number, part] = method.attribute(
                images[part].clone().requires_grad_(),
                baselines=absent[part],
                additional_forward_args=direction[part],
                n_steps=lens.steps,
                internal_batch_size=lens.batch if lens.batch < lens.steps else None,
            ).detach()
    return found


def integrated_gradients(lens: Lens, images: Tensor, directions: Tensor) -> Tensor:
    """Attribute to each pixel its part of f(image) - f(absent), colours summed; signed, (S, B, H, W)."""
    return pixel_maps(lens, images, mean_gradients(lens, images, directions))


def pixel_maps(lens: Lens, images: Tensor, gradients: Tensor) -> Tensor:
    """Turn mean gradients (S, B, 3, H, W) into maps (S, B, H, W)."""
    return ((images - lens.absent) * gradients).sum(dim=2)
