"""The one interface of every image encoder: float images in [0, 1] go in, raw embeddings come out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from distill.models.text_tower import TextTower

from distill.models.weights_report import WeightsReport


class Encoder(nn.Module):
    """A backbone with its own input size and normalisation, and an optional linear projection.

    Args:
        backbone: module from normalised images (N, 3, h, w) to features (N, F).
        mean: mean of each colour in [0, 1], three numbers.
        std: standard deviation of each colour, three numbers.

    `text_tower` is that of a model with two towers, None for others.
        input_size: side to which images are resized (bicubic, antialiased), or None to take them as they come.
        projection: linear map of features to the teacher's dimension, or None.

    Its attribute `weights_report` says how foreign weights were read.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        mean: tuple[float, ...] = (0.0, 0.0, 0.0),
        std: tuple[float, ...] = (1.0, 1.0, 1.0),
        input_size: int | None = None,
        projection: nn.Linear | None = None,
    ) -> None:
        self.text_tower: TextTower | None = None
        super().__init__()
        self.backbone = backbone
        self.projection = projection if projection is not None else nn.Identity()
        self.input_size = input_size
        self.weights_report = WeightsReport()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: float, in [0, 1], shape (N, 3, H, W).

        Returns:
            Raw embeddings (not of unit length), shape (N, D).
        """
        if self.input_size is not None and tuple(images.shape[-2:]) != (self.input_size, self.input_size):
            size = (self.input_size, self.input_size)
            # torch's antialias filter only matters when shrinking; it is slow and without effect when enlarging.
            shrinks = images.shape[-1] > self.input_size or images.shape[-2] > self.input_size
            images = F.interpolate(images, size=size, mode="bicubic", antialias=shrinks, align_corners=False).clamp(0, 1)
        return self.projection(self.backbone(self._normalised(images).contiguous(memory_format=torch.channels_last)))

    def _normalised(self, images: Tensor) -> Tensor:
        if images.is_contiguous() or not images.is_contiguous(memory_format=torch.channels_last):
            return (images - self.mean) / self.std
        # Broadcasting over three numbers is slow: here each row of pixels, whose colours lie side by side, is one line. The result has the same bits.
        n, channels, height, width = images.shape
        mean, std = (statistic.flatten().repeat(width) for statistic in (self.mean, self.std))
        lines = (images.permute(0, 2, 3, 1).reshape(n * height, width * channels) - mean) / std
        return lines.view(n, height, width, channels).permute(0, 3, 1, 2)


def parameter_count(module: nn.Module) -> int:
    """Count the parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def weights_hash(module: nn.Module) -> str:
    """Hash every parameter and buffer of a module by name, shape, dtype and bits, and what an `Encoder` does to images before.

    Returns:
        Sixteen hexadecimal digits; equal for bit-equal weights, whatever the model is called.
    """
    digest = hashlib.sha256()
    if isinstance(module, Encoder):
        digest.update(f"{module.mean.flatten().tolist()} {module.std.flatten().tolist()} {module.input_size}".encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def refuse_bad_weights(module: nn.Module, where: str) -> None:
    """Refuse weights that hold NaN or infinity.

    Args:
        module: its parameters and buffers are checked.
        where: what the error calls them.

    Raises:
        ValueError: naming the first such tensor.
    """
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"the weights of {where} must be finite, got NaN or infinity in `{name}`; use an earlier checkpoint.")
