"""The encoder with its weights shuffled: a map that looks the same under it shows the image and not the encoder."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probes.attribution.methods.differentiable import AttributionTarget


def randomised(lens: AttributionTarget, *, seed: int) -> AttributionTarget:
    """Give a lens on a copy of the encoder in which the entries of every weight tensor are shuffled within it.

    Shuffling keeps the size of the weights, so that the copy still gives gradients of an ordinary size. Buffers are kept.

    Args:
        lens: of a module.
        seed: seed of the shuffles.

    Raises:
        ValueError: for an encoder that is not a module.

    Source: Adebayo et al. (2018), section 4.1, with shuffled for redrawn weights.
    """
    import torch
    from torch import nn

    if not isinstance(lens.encode, nn.Module):
        raise ValueError(f"`lens` must look at a torch.nn.Module, got {type(lens.encode).__name__}; its weights cannot be shuffled.")
    twin = copy.deepcopy(lens.encode)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in twin.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    layer = lens.layer
    if layer is not None:
        layer = replace(layer, module=dict(twin.named_modules())[layer.name])
    return replace(lens, encode=twin, layer=layer)
