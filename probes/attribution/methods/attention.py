"""Attention maps of vision transformers, from the attention that torch itself computes: no library needs to hand it out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from probes.attribution.methods.differentiable import AttributionTarget

_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def recorded_attention() -> Iterator[list[Tensor]]:
    """Collect the attention (B, heads, T, T) of every layer that is run inside the block, in order.

    timm, open_clip and transformers all call `torch.nn.functional.scaled_dot_product_attention`, which keeps its attention to itself.
    While the block lasts, calls of this thread go to the same formula written out; other threads get the original.
    """
    from torch.nn import functional as F

    original, thread = F.scaled_dot_product_attention, threading.get_ident()
    kept: list[Tensor] = []

    def written_out(
        query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0, *args: Any, **named: Any
    ) -> Tensor:
        unusual = attn_mask is not None or dropout_p or any(args) or named.get("is_causal") or named.get("enable_gqa")
        if threading.get_ident() != thread or unusual:
            return original(query, key, value, attn_mask, dropout_p, *args, **named)
        scale = named.get("scale") or query.shape[-1] ** -0.5
        attention = (query @ key.transpose(-2, -1) * scale).softmax(dim=-1)
        kept.append(attention)
        return attention @ value

    with _ONE_AT_A_TIME:
        F.scaled_dot_product_attention = written_out
        try:
            yield kept
        finally:
            F.scaled_dot_product_attention = original


def over_patches(attention: list[Tensor], tokens: int) -> list[Tensor]:
    """Keep the layers in which all tokens of an image see each other (not the windows of a Swin, not a pooling query)."""
    return [layer for layer in attention if layer.ndim == 4 and layer.shape[-2:] == (tokens, tokens) and layer.requires_grad]


def attention_flow(encoder: AttributionTarget, images: Tensor, directions: Tensor) -> Tensor:
    """Attribute to each patch the change of f when all tokens attend to it a little more, over all layers and heads; signed.

    With A the attention of a layer and G = df/dA, patch j gets the sum over layers, heads and rows i of A_ij (G_ij - sum_k A_ik G_ik),
    which is df by the score before the softmax: what every patch would gain alike does not count.

    Args:
        encoder: the encoder and its settings; `encoder.layer` must hold tokens.
        images: (B, 3, H, W).
        directions: (S, B, D).

    Returns:
        (S, B, H, W).

    Source: ours, after LeGrad (Bousselham et al. 2024) and Chefer et al. (2021), whose gradients of attention are cut at zero.
    """
    import torch
    from torch.nn import functional as F

    shape = encoder.needed_layer.shape
    tokens = shape.prefix + shape.grid[0] * shape.grid[1]
    maps = torch.zeros((len(directions), len(images), *images.shape[-2:]))
    for start in range(0, len(images), encoder.batch):
        part = slice(start, start + encoder.batch)
        with recorded_attention() as kept:
            unit = encoder.unit(images[part].clone().requires_grad_())
        layers = over_patches(kept, tokens)
        for number, direction in enumerate(directions):
            slopes = torch.autograd.grad((unit * direction[part]).sum(), layers, retain_graph=True, allow_unused=True)
            flow = torch.zeros((len(unit), tokens))
            for layer, slope in zip(layers, slopes, strict=True):
                if slope is not None:
                    gain = layer * (slope - (layer * slope).sum(dim=-1, keepdim=True))
                    flow += gain.detach().float().sum(dim=(1, 2))
            coarse = flow[:, shape.prefix :].unflatten(1, (1, *shape.grid))
            maps[number, part] = F.interpolate(coarse, size=images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return maps
