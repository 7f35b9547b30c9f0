"""Keep narrow models out of a fault of oneDNN that writes beyond its memory."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

NARROW = 8
"""Fewer input channels than this are the trouble: the vector width of AVX2 in float32."""


def shielded(model: nn.Module) -> nn.Module:
    """Let narrow 1 x 1 convolutions with a stride take every other pixel first, and then go on without a stride: the same numbers.

    With fewer than eight input channels in channels-last layout, the gradient of such a convolution writes outside of its buffer on
    processors with AVX2 (torch 2.14.1 with oneDNN 3.12; found by `corrupted size vs. prev_size` from the C library), and the process
    dies at some later moment, or computes with what it has spoilt. Weights and their names stay as they are.

    Args:
        model: changed in place.

    Returns:
        The same model.
    """
    for part in model.modules():
        if isinstance(part, nn.Conv2d) and _writes_outside(part):
            part._every, part.stride = part.stride, (1, 1)  # type: ignore[assignment]
            part.register_forward_pre_hook(_every_other)
    return model


def _writes_outside(part: nn.Conv2d) -> bool:
    plain = part.kernel_size == (1, 1) and part.padding in ((0, 0), "valid")
    return plain and part.stride != (1, 1) and part.in_channels // part.groups < NARROW


def _every_other(module: Any, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    down, right = module._every
    return (arguments[0][..., ::down, ::right], *arguments[1:])
