"""Losses with parameters of their own: SigLIP's bias and the fusion of augmented feature distillation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.losses.contract import Batch
from distill.losses.contrastive import image_text_contrastive, siglip


class SigLip(nn.Module):
    """`siglip` with its learned bias; set the temperature of the student to `learned` for the published loss.

    Args:
        bias: where it starts.
    """

    def __init__(self, *, bias: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(self, batch: Batch) -> Tensor:
        """Compute the loss: scalar, at least 0."""
        return siglip(batch.student, batch.text, logit_scale=batch.logit_scale, bias=self.bias)


class AugmentedFeature(nn.Module):
    """Contrast images with texts after fusing each student embedding with the teacher's by a learned linear map.

    The student has no text tower of its own, so the text side fuses the frozen embedding with itself. The fusion may learn to
    look at the teacher's half alone: then the loss falls and the student learns nothing.

    Args:
        embed_dim: dimension D of the embeddings.

    Source: CLIP-KD (Yang et al., CVPR 2024), `AFD`.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.image = nn.Linear(2 * embed_dim, embed_dim)
        self.text = nn.Linear(2 * embed_dim, embed_dim)

    def forward(self, batch: Batch) -> Tensor:
        """Compute the symmetric CLIP loss of the fused embeddings: scalar, at least 0."""
        images = F.normalize(self.image(torch.cat([batch.student, batch.teacher], dim=1)), dim=-1)
        words = F.normalize(self.text(torch.cat([batch.text, batch.text], dim=1)), dim=-1)
        return image_text_contrastive(images, words, logit_scale=batch.logit_scale)
