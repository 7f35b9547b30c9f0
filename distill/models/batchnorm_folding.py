"""Fold batch norm into the convolutions before it: what looks at many images and trains nothing need not pass over them twice."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

CLOSE, ROUNDING = 1e-4, 2e-6
"""Greatest difference of two answers that is let pass, as a share of the greatest distance of an answer from their mean; and as a share of the greatest
number, which float32 rounds to anyhow. Seen: below 1e-6 of the latter."""

Network = TypeVar("Network", bound=nn.Module)


def fuse_conv_bn(encoder: Network, image_size: int) -> Network:
    """Give a copy of an encoder, in eval mode, whose convolutions also do the scaling and shifting of the batch norm behind them.

    Pairs are found by looking at one pass and not at names, so that any network will do. The copy is asked about made-up images and
    given only where it answers as the original does; elsewhere, and where nothing can be folded, the original is given.

    Args:
        encoder: images (B, 3, H, W) float in [0, 1] -> (B, D); stays as it is.
        image_size: side of the images to ask about in pixels.

    Returns:
        Something that embeds and is not trained, explained or taken apart: batch norms are gone, and gradients differ where rounding takes an activation
        over a ReLU's kink.

    Source: Jacob et al. (2018), section 3.2, equation 14, without the quantisation.
    """
    if not any(_foldable(part) for part in encoder.modules()):
        return encoder
    images = _made_up(image_size)
    try:
        twin = copy.deepcopy(encoder).eval().requires_grad_(False)
        before, pairs = _watched(twin, images)
        _fold(twin, pairs)
        twin.eval()
        return twin if pairs and _agree(before, _answer(twin, images)) else encoder
    except Exception:  # a network that cannot be copied or shown these images is asked as it is, and says itself what is wrong with it
        return encoder


def _foldable(part: nn.Module) -> bool:
    known = type(part) in (nn.BatchNorm2d, BatchNormAct2d) and not part._forward_hooks and not part._forward_pre_hooks
    return known and part.running_mean is not None and part.running_mean.dtype == torch.float32 and part.running_mean.device.type == "cpu"


def _watched(module: nn.Module, images: Tensor) -> tuple[Tensor, list[tuple[nn.Conv2d, nn.Module]]]:
    """Give the answer, and each convolution whose output goes into a batch norm, both called once."""
    calls: dict[nn.Module, int] = {}
    came: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    found: list[tuple[nn.Conv2d, nn.Module]] = []

    def see(part: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        calls[part] = calls.get(part, 0) + 1
        if isinstance(part, nn.Conv2d):
            came[id(out)] = (part, out)  # the tensor is kept, so that nothing else gets its number
        elif given and id(given[0]) in came:
            found.append((came.pop(id(given[0]))[0], part))

    parts = [part for part in module.modules() if _foldable(part) or isinstance(part, nn.Conv2d)]
    hooks = [part.register_forward_hook(see) for part in parts]
    try:
        answer = _answer(module, images)
    finally:
        for hook in hooks:
            hook.remove()
    return answer, [(conv, norm) for conv, norm in found if calls[conv] == 1 == calls[norm] and not hasattr(conv, "parametrizations")]


def _fold(module: nn.Module, pairs: list[tuple[nn.Conv2d, nn.Module]]) -> None:
    places = {part: (parent, name) for parent in module.modules() for name, part in parent.named_children()}
    for conv, norm in pairs:
        statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)  # type: ignore[arg-type]
        conv.requires_grad_(False)
        parent, name = places[norm]
        setattr(parent, name, nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity())


def _answer(module: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return module(images)


def _agree(one: Tensor, other: Tensor) -> bool:
    room = max(CLOSE * float((one - one.mean(dim=0)).abs().max()), ROUNDING * float(one.abs().max()))
    return bool(torch.isfinite(one).all()) and float((one - other).abs().max()) <= room


def _made_up(size: int) -> Tensor:
    """Make noise, a ramp and a flat image: (3, 3, S, S) in [0, 1]."""
    noise = torch.rand(3, size, size, generator=torch.Generator().manual_seed(0))
    ramp = torch.linspace(0, 1, size).expand(3, size, size) * torch.tensor([1.0, 0.7, 0.4]).view(3, 1, 1)
    return torch.stack([noise, ramp, torch.full((3, size, size), 0.5)])
