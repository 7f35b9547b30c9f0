"""A small residual network for 32-pixel images, where ImageNet stems throw away too much."""

from __future__ import annotations

from collections.abc import Sequence

from timm.models.resnet import BasicBlock
from torch import nn


def _conv_norm(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs))


def small_resnet(widths: Sequence[int] = (16, 32, 64, 128), depth: int = 1, stem_stride: int = 1) -> nn.Sequential:
    """Build a residual network with a thin stem, for images of about 32 pixels.

    Args:
        widths: channels of each stage; every stage after the first halves the resolution.
        depth: residual blocks in each stage.
        stem_stride: 1 keeps every pixel; 2 halves the resolution at once, for a quarter of the work.

    Returns:
        A module from images (N, 3, H, W) to features (N, widths[-1]); its attribute `num_features` tells their number.

    Source: He et al. (2016), section 4.2, with timm's BasicBlock.
    """
    layers: list[nn.Module] = [_conv_norm(3, widths[0], 3, stem_stride), nn.ReLU(inplace=True)]
    channels = widths[0]
    for stage, width in enumerate(widths):
        for block in range(depth):
            stride = 2 if stage > 0 and block == 0 else 1
            shortcut = _conv_norm(channels, width, 1, stride) if stride != 1 or channels != width else None
            layers.append(BasicBlock(channels, width, stride=stride, downsample=shortcut))
            channels = width
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.num_features = channels  # type: ignore[assignment]
    return network


BUILTIN = {"small_resnet": small_resnet}
