"""Fold batch norm into the convolutions before it, for encoders that embed many images and are not trained."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

CLOSE, ROUNDING = 1e-4, 2e-6
"""Greatest difference between the embeddings of copy and original: as a share of the greatest distance from their mean, and as a share of the greatest
number, which is what float32 rounds to. Measured differences stay below 1e-6 of the latter."""

Network = TypeVar("Network", bound=nn.Module)


def fuse_conv_bn(encoder: Network, image_size: int) -> Network:
    """Return a copy of an encoder, in eval mode, whose convolutions also scale and shift as the batch norm behind them does.

    Pairs are found by watching one forward pass and not by names, so that any network can be folded. The copy embeds a few synthetic images and is
    returned only where its embeddings equal the original's; otherwise, and where nothing can be folded, the original is returned.

    Args:
        encoder: images (B, 3, H, W) float in [0, 1] -> (B, D); stays as it is.
        image_size: side of the synthetic images in pixels.

    Returns:
        An encoder to embed with, not to train or explain: batch norms are gone, and gradients differ where rounding moves an activation over a ReLU's kink.

    Source: Jacob et al. (2018), section 3.2, equation 14, without the quantisation.
    """
    if not any(_is_foldable(part) for part in encoder.modules()):
        return encoder
    images = _synthetic_images(image_size)
    try:
        folded = copy.deepcopy(encoder).eval().requires_grad_(False)
        embeddings, pairs = _conv_norm_pairs(folded, images)
        _fold(folded, pairs)
        folded.eval()
        return folded if pairs and _are_close(embeddings, _embed(folded, images)) else encoder
    except Exception:  # a network that cannot be copied or take these images is returned as it is; embedding with it says what is wrong
        return encoder


def _is_foldable(part: nn.Module) -> bool:
    is_plain = type(part) in (nn.BatchNorm2d, BatchNormAct2d) and not part._forward_hooks and not part._forward_pre_hooks
    return (
        is_plain and part.running_mean is not None and part.running_mean.dtype == torch.float32 and part.running_mean.device.type == "cpu"
    )


def _conv_norm_pairs(module: nn.Module, images: Tensor) -> tuple[Tensor, list[tuple[nn.Conv2d, nn.Module]]]:
    """Return the embeddings, and each convolution whose output goes into a batch norm, both called once."""
    calls: dict[nn.Module, int] = {}
    outputs: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    pairs: list[tuple[nn.Conv2d, nn.Module]] = []

    def watch(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[part] = calls.get(part, 0) + 1
        if isinstance(part, nn.Conv2d):
            outputs[id(output)] = (part, output)  # the tensor is kept, so that no other tensor gets its id
        elif inputs and id(inputs[0]) in outputs:
            pairs.append((outputs.pop(id(inputs[0]))[0], part))

    parts = [part for part in module.modules() if _is_foldable(part) or isinstance(part, nn.Conv2d)]
    hooks = [part.register_forward_hook(watch) for part in parts]
    try:
        embeddings = _embed(module, images)
    finally:
        for hook in hooks:
            hook.remove()
    return embeddings, [(conv, norm) for conv, norm in pairs if calls[conv] == 1 == calls[norm] and not hasattr(conv, "parametrizations")]


def _fold(module: nn.Module, pairs: list[tuple[nn.Conv2d, nn.Module]]) -> None:
    parents = {part: (parent, name) for parent in module.modules() for name, part in parent.named_children()}
    for conv, norm in pairs:
        statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)  # type: ignore[arg-type]
        conv.requires_grad_(False)
        parent, name = parents[norm]
        setattr(parent, name, nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity())


def _embed(module: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return module(images)


def _are_close(expected: Tensor, actual: Tensor) -> bool:
    tolerance = max(CLOSE * float((expected - expected.mean(dim=0)).abs().max()), ROUNDING * float(expected.abs().max()))
    return bool(torch.isfinite(expected).all()) and float((expected - actual).abs().max()) <= tolerance


def _synthetic_images(size: int) -> Tensor:
    """Make noise, a ramp and a flat image: (3, 3, S, S) in [0, 1]."""
    noise = torch.rand(3, size, size, generator=torch.Generator().manual_seed(0))
    ramp = torch.linspace(0, 1, size).expand(3, size, size) * torch.tensor([1.0, 0.7, 0.4]).view(3, 1, 1)
    return torch.stack([noise, ramp, torch.full((3, size, size), 0.5)])
