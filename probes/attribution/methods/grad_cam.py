"""Grad-CAM on whatever feature map the network has, with its sign kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from probes.attribution.methods.differentiable import AttributionTarget


def grad_cam(encoder: AttributionTarget, images: Tensor, directions: Tensor) -> Tensor:
    """Weigh the channels of the last spatial feature map by their mean gradient, add them up, and enlarge to the image.

    No ReLU is taken, so that places that lower f are seen too.

    Args:
        encoder: the encoder and its settings; `encoder.layer` must be there.
        images: (B, 3, H, W).
        directions: (S, B, D).

    Returns:
        (S, B, H, W).

    Source: Selvaraju et al. (2017), eqs. 1 and 2 without the ReLU; equal to captum's LayerGradCam on convolutional maps.
    """
    import torch
    from torch.nn import functional as F

    layer = encoder.needed_layer
    maps = torch.zeros((len(directions), len(images), *images.shape[-2:]))
    for start in range(0, len(images), encoder.batch):
        part = slice(start, start + encoder.batch)
        with layer.caught() as outputs:
            unit = encoder.unit(images[part].clone().requires_grad_())
        features = outputs[-1]
        for number, direction in enumerate(directions):
            value = (unit * direction[part]).sum()
            (slope,) = torch.autograd.grad(value, features, retain_graph=True)
            weights = layer.shape.to_nchw(slope).mean(dim=(2, 3), keepdim=True)
            coarse = (weights * layer.shape.to_nchw(features)).sum(dim=1, keepdim=True).detach().float()
            maps[number, part] = F.interpolate(coarse, size=images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return maps
