"""Tian's contrastive representation distillation: negatives from a memory of the teacher's embeddings."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.losses.contract import Batch


def noise_contrast(positives: Tensor, others: Tensor, valid: Tensor, *, draws: int) -> Tensor:
    """Compute the cost of telling the right target from noise, each candidate judged by itself; at least 0.

    With `h(r) = r / (r + m)`, r the ratio of a candidate's likelihood to that of noise and m the number of draws of noise:
    `-(1/N) sum_i [log h(r_i) + m mean_k log(1 - h(r_ik))]`.

    Args:
        positives: log r of the right targets, shape (N,).
        others: log r of the draws, shape (N, K).
        valid: which draws are noise for which image, boolean, shape (N, K).
        draws: m; where some draws are not valid or shared the mean over those that are stands for all m.

    Returns:
        Scalar mean over the batch.

    Source: Tian, Krishnan, Isola (ICLR 2020), eq. 18 and 19; Gutmann & Hyvaerinen (2010).
    """
    log_m = math.log(draws)
    noise = (F.softplus(others - log_m) * valid).sum(dim=1) / valid.sum(dim=1).clamp_min(1)
    return (F.softplus(log_m - positives) + draws * noise).mean()


class MemoryContrast(nn.Module):
    """Contrast the student's embeddings with a memory of the teacher's, one row an image of the training set.

    Embeddings are compared as they are, without heads: a learned head would leave the space of the texts. The published second term, the
    teacher against a memory of the student, then has no gradient and is left out. Noise is drawn from the rows already filled, once a
    batch, and rows of the image itself or its class are not counted as noise. The normaliser is fixed at the first batch.

    Args:
        images: number of training images.
        embed_dim: dimension D.
        negatives: m, draws of noise.
        momentum: share of the old row that is kept when an image comes by again.

    Source: Tian, Krishnan, Isola (ICLR 2020), section 3.1; the memory and its normaliser are those of Wu et al. (CVPR 2018).
    """

    memory: Tensor
    labels: Tensor
    log_normaliser: Tensor
    batches: Tensor

    def __init__(self, images: int, embed_dim: int, *, negatives: float, momentum: float) -> None:
        super().__init__()
        self.negatives = int(negatives)
        self.momentum = momentum
        self.seed = int(torch.randint(2**31, ()))
        self.register_buffer("memory", torch.zeros(images, embed_dim))
        self.register_buffer("labels", torch.full((images,), -1))  # -1: not yet filled
        self.register_buffer("log_normaliser", torch.zeros(()))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))  # counted from the first one that has noise

    def forward(self, batch: Batch) -> Tensor:
        """Remember the batch's teacher embeddings, draw noise and compute the loss: scalar, at least 0."""
        rows, shares, teacher = batch.rows, batch.shares, batch.teacher
        if rows is None or shares is None or teacher is None:
            raise ValueError("`batch` must have rows, shares and teacher for crd_memory, got None; give them.")
        self._remember(rows, teacher, shares)
        drawn = self._draw()
        valid = (drawn != rows[:, None]) & (shares[:, self.labels[drawn]] == 0)
        logits = batch.logit_scale * batch.student @ self.memory[drawn].to(batch.student).T
        if valid.any():
            if int(self.batches) == 0:
                known = logits.detach()[valid]
                self.log_normaliser.copy_(known.logsumexp(dim=0) - math.log(len(known)))
            self.batches += 1
        positives = batch.logit_scale * (batch.student * teacher).sum(dim=1)
        return noise_contrast(positives - self.log_normaliser, logits - self.log_normaliser, valid, draws=self.negatives)

    @torch.no_grad()
    def _remember(self, rows: Tensor, teacher: Tensor, shares: Tensor) -> None:
        new = teacher.to(self.memory)
        old = self.memory[rows]
        first = (self.labels[rows] < 0)[:, None]
        self.memory[rows] = torch.where(first, new, F.normalize(self.momentum * old + (1 - self.momentum) * new, dim=1))
        self.labels[rows] = shares.argmax(dim=1)

    def _draw(self) -> Tensor:
        """Draw rows of the memory with replacement, from a generator of its own: a resumed run draws the same."""
        filled = (self.labels >= 0).nonzero().squeeze(1)
        generator = torch.Generator().manual_seed(self.seed + int(self.batches))
        return filled[torch.randint(len(filled), (self.negatives,), generator=generator).to(filled.device)]
