"""Work around a fault of oneDNN that writes beyond its memory in narrow convolutions."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

NARROW = 8
"""The fault needs fewer input channels than this, which is the vector width of AVX2 in float32."""


def shielded(model: nn.Module) -> nn.Module:
    """Replace the stride of narrow 1 x 1 convolutions by taking every other pixel first, which gives the same numbers.

    With fewer than eight input channels in channels-last layout, the gradient of such a convolution writes outside of its buffer on
    processors with AVX2 (torch 2.14.1 with oneDNN 3.12; found by `corrupted size vs. prev_size` from the C library), and the process
    dies at some later moment, or computes with overwritten numbers. Weights and their names stay as they are.

    Args:
        model: changed in place.

    Returns:
        The same model.
    """
    for part in model.modules():
        if isinstance(part, nn.Conv2d) and _is_affected(part):
            part._every, part.stride = part.stride, (1, 1)  # type: ignore[assignment]
            part.register_forward_pre_hook(_subsample)
    return model


def _is_affected(part: nn.Conv2d) -> bool:
    is_pointwise = part.kernel_size == (1, 1) and part.padding in ((0, 0), "valid")
    return is_pointwise and part.stride != (1, 1) and part.in_channels // part.groups < NARROW


def _subsample(module: Any, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    down, right = module._every
    return (arguments[0][..., ::down, ::right], *arguments[1:])
