"""Parameter randomisation: a copy of the encoder with shuffled weights, whose maps depend on the image alone."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probes.attribution.methods.differentiable import AttributionTarget


def randomised(encoder: AttributionTarget, *, seed: int) -> AttributionTarget:
    """Copy an encoder and shuffle the entries of every weight tensor within it.

    Shuffling keeps the size of the weights, so that the copy still gives gradients of an ordinary size. Buffers are kept.

    Args:
        encoder: prepared from a module.
        seed: seed of the shuffles.

    Raises:
        ValueError: for an encoder that is not a module.

    Source: Adebayo et al. (2018), section 4.1, with shuffled for redrawn weights.
    """
    import torch
    from torch import nn

    if not isinstance(encoder.encode, nn.Module):
        raise ValueError(
            f"`encoder` must be prepared from a torch.nn.Module, got {type(encoder.encode).__name__}; its weights cannot be shuffled."
        )
    twin = copy.deepcopy(encoder.encode)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in twin.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    layer = encoder.layer
    if layer is not None:
        layer = replace(layer, module=dict(twin.named_modules())[layer.name])
    return replace(encoder, encode=twin, layer=layer)
