"""Alignment and uniformity, and a control that spreads the embeddings without pushing any two images apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.losses.contract import Batch
from distill.losses.feature import squared_l2


def uniformity(rows: Tensor, *, strength: float = 2.0) -> Tensor:
    """Compute how far from evenly spread embeddings are, in [-4 strength, 0]; 0 where they are all one point.

    `log mean_{i<j} exp(-strength |x_i - x_j|^2)`.

    Args:
        rows: unit embeddings, shape (N, D), N at least 2.
        strength: t of the Gaussian potential, positive.

    Returns:
        Scalar.

    Source: Wang & Isola (ICML 2020), eq. 4.
    """
    squares = rows.square().sum(dim=1)
    i, j = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    distances = (squares[i] + squares[j] - 2 * (rows @ rows.T)[i, j]).clamp_min(0.0)
    return (-strength * distances).logsumexp(dim=0) - math.log(len(distances))


def align_uniform(student: Tensor, teacher: Tensor) -> Tensor:
    """Pull the student's embeddings to the teacher's and spread both evenly, in [-8, 4].

    `mean |s - t|^2 + 1/2 [uniformity(s) + uniformity(t)]`.

    Args:
        student: unit embeddings of the student, shape (N, D), N at least 2.
        teacher: unit embeddings of the teacher for the same images, shape (N, D); of a frozen one its uniformity is a constant.

    Returns:
        Scalar; negative values are usual.

    Source: Farhat & Chen (2024), the loss `L_AU`, weights 1 and 1, alpha = 2, t = 2.
    """
    return squared_l2(student, teacher) + (uniformity(student) + uniformity(teacher)) / 2


class AlignUniformHeads(nn.Module):
    """`align_uniform` behind a trainable head on each side, as published.

    The frozen teacher is then matched only through a map that is learned too: nothing holds the student's own embedding in
    the space of the teacher's texts, and zero-shot accuracy may stay at chance while this loss falls.

    Args:
        embed_dim: dimension D of the embeddings.
        width: dimension of the heads' output.

    Source: Farhat & Chen (2024); the heads are those of MoCo v2 (Chen et al., 2020): linear, ReLU, linear to 128.
    """

    def __init__(self, embed_dim: int, *, width: int = 128) -> None:
        super().__init__()
        self.student, self.teacher = (
            nn.Sequential(nn.Linear(embed_dim, embed_dim), nn.ReLU(), nn.Linear(embed_dim, width)) for _ in range(2)
        )

    def forward(self, batch: Batch) -> Tensor:
        """Compute the loss on both heads' outputs: scalar, in [-8, 4]."""
        return align_uniform(F.normalize(self.student(batch.student), dim=-1), F.normalize(self.teacher(batch.teacher), dim=-1))


def vicreg(student: Tensor, teacher: Tensor, *, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> Tensor:
    """Pull to the teacher while every dimension keeps its spread and no two repeat each other; at least 0.

    On embeddings times sqrt(D), so that evenly spread unit vectors have variance 1 in each dimension: `invariance` times the mean
    squared difference, `variance` times the mean of `max(0, 1 - std)` and `covariance` times the mean over D of the squared
    covariances between dimensions. It spreads the batch as negatives do, but pushes no image from any other.

    Args:
        student: unit embeddings of the student, shape (N, D), N at least 2.
        teacher: unit embeddings of the frozen teacher for the same images, shape (N, D).
        invariance: weight of the pull; at these units it is the weight of `squared_l2`.
        variance: weight of the spread.
        covariance: weight of the decorrelation.

    Returns:
        Scalar.

    Source: VICReg (Bardes, Ponce, LeCun, ICLR 2022), eq. 1 to 6, with the frozen teacher as the second view.
    """
    n, d = student.shape
    rows = (student - student.mean(dim=0)) * d**0.5
    spread = F.relu(1 - (rows.square().sum(dim=0) / (n - 1) + 1e-4).sqrt()).mean()
    matrix = rows.T @ rows / (n - 1)
    repeated = (matrix.square().sum() - matrix.diagonal().square().sum()) / d
    return invariance * squared_l2(student, teacher) + variance * spread + covariance * repeated
