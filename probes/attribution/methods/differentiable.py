"""An encoder made ready for attribution, and which methods it does not allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from probes.attribution.methods.spatial_layers import SpatialLayer

if TYPE_CHECKING:
    from torch import Tensor

    from probes.probe_input import Encode


MAX_BATCH = 256


class UnavailableMethodError(ValueError):
    """A method that an encoder does not allow.

    Args:
        method: its name.
        reason: why not, and what to do.
    """

    def __init__(self, method: str, reason: str) -> None:
        super().__init__(f"`method` {method} cannot be used: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class AttributionTarget:
    """An encoder made ready for attribution: what it offers, and the settings of the methods.

    Args:
        encode: images (B, 3, H, W) in [0, 1] -> (B, D).
        baseline: (3, 1, 1) colour in [0, 1] that stands for a pixel without information (captum's `baselines`).
        layer: last spatial feature map of at least four cells a side, or None.
        unavailable: method -> why this encoder cannot be explained by it, and what to do.
        batch: images in one pass.
        steps: points of integrated gradients, the most where there is a tolerance.
        window: side of the covered window in pixels.
        points: images in one pass of integrated gradients.
        tolerance: completeness error, as a share of f(image) - f(baseline), at which integrated gradients stop before `steps`; None for never.
    """

    encode: Encode
    baseline: Tensor
    layer: SpatialLayer | None
    unavailable: Mapping[str, str]
    batch: int
    steps: int
    window: int
    points: int = MAX_BATCH
    tolerance: float | None = None

    @property
    def needed_layer(self) -> SpatialLayer:
        """The spatial layer.

        Raises:
            ValueError: where there is none.
        """
        if self.layer is None:
            raise ValueError(NO_LAYER)
        return self.layer

    def unit(self, images: Tensor) -> Tensor:
        """Embed on the unit sphere, (B, D), with gradients."""
        from torch.nn import functional as F

        return F.normalize(self.encode(images).float(), dim=-1)

    def scalar(self, images: Tensor, directions: Tensor) -> Tensor:
        """Compute the cosine of each image's embedding with its direction (B, D), (B,), with gradients."""
        return (self.unit(images) * directions).sum(dim=-1)

    def embed(self, images: Tensor) -> Tensor:
        """Embed on the unit sphere, (B, D), in batches and without gradients."""
        import torch

        with torch.no_grad():
            return torch.cat([self.unit(images[at : at + self.batch]) for at in range(0, len(images), self.batch)])


NO_LAYER = (
    "the encoder must have a feature map of at least 4 x 4 cells that its embedding depends on, got none; "
    "use integrated_gradients or occlusion, or give larger images."
)
