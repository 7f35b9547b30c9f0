"""The moving average of the student, a teacher that some losses take their soft labels from."""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import Tensor, nn


class Momentum(nn.Module):
    """An exponential moving average of a student's weights and running statistics; it is never trained and always in eval mode.

    The decay warms up, `min(decay, (1 + n) / (10 + n))` after n updates, so that the random start is soon forgotten.

    Args:
        encoder: the student, whose weights it starts from.
        decay: share of the average that an update keeps, in [0, 1).

    Source: Tarvainen & Valpola (2017); the warm-up is that of OTTER (Wu et al., ICLR 2022).
    """

    updates: Tensor

    def __init__(self, encoder: nn.Module, decay: float) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode: its targets must not depend on who else is in the batch."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Embed images in [0, 1], shape (N, 3, H, W), without gradient: raw embeddings (N, D)."""
        return self.encoder(images)

    @torch.no_grad()
    def update(self, encoder: nn.Module) -> None:
        """Move the average towards the student, after each of its steps."""
        n = int(self.updates)
        decay = min(self.decay, (1 + n) / (10 + n))
        weights = encoder.state_dict()
        for name, average in self.encoder.state_dict().items():
            if average.is_floating_point():
                average.lerp_(weights[name].to(average.dtype), 1 - decay)
            else:
                average.copy_(weights[name])
        self.updates += 1
