"""Relational distillation: keep the teacher's geometry among images, wherever in space it lies.

None of these losses anchors the student in the teacher's space: turned as a whole it costs nothing, so zero-shot accuracy
with the teacher's text embeddings is chance unless another loss anchors it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def rkd_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare distances between images, each divided by the batch's mean distance, with a Huber loss; at least 0.

    Args:
        student: embeddings of the student, shape (N, D), N at least 3.
        teacher: embeddings of the frozen teacher for the same images, shape (N, D).

    Returns:
        Scalar mean over the pairs of different images; 0 where the student is the teacher up to turns, mirrors and scale.

    Source: Park et al. (CVPR 2019), eq. 5 and 6.
    """
    return F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))


def _relative_distances(rows: Tensor) -> Tensor:
    squares = rows.square().sum(dim=1)
    i, j = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    # Held above zero: the root has no slope there, and equal images occur.
    distances = (squares[i] + squares[j] - 2 * (rows @ rows.T)[i, j]).clamp_min(1e-12).sqrt()
    return distances / distances.mean()


def rkd_angle(student: Tensor, teacher: Tensor, *, vertices: int | None = None) -> Tensor:
    """Compare the cosines of the angles in all triangles of images with a Huber loss; at least 0.

    All N^3 triangles of a batch of 256 cost more than a small student does, so the angles may be taken at some of
    the images only, evenly spread over the batch: an unbiased estimate, as batches are drawn at random.

    Args:
        student: embeddings of the student, shape (N, D), N at least 3.
        teacher: embeddings of the frozen teacher for the same images, shape (N, D).
        vertices: at how many images angles are taken; None for all.

    Returns:
        Scalar mean over triangles of different images; 0 where the student is the teacher up to turns, mirrors and scale.

    Source: Park et al. (CVPR 2019), eq. 7 and 8.
    """
    n = len(student)
    count = n if vertices is None else min(vertices, n)
    at = torch.arange(count, device=student.device) * n // count
    student_cosines, teacher_cosines = _angles(student, at), _angles(teacher, at)
    # Triangles with two equal corners give equal cosines on both sides, 0 or 1, and count as nothing.
    return F.smooth_l1_loss(student_cosines, teacher_cosines, reduction="sum") / (count * (n - 1) * (n - 2))


def _angles(rows: Tensor, at: Tensor) -> Tensor:
    sides = F.normalize(rows[None] - rows[at][:, None], dim=-1)  # (V, N, D)
    return sides @ sides.transpose(1, 2)  # (V, N, N)


def similarity_preserving(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the matrices of inner products between images, each row of unit length: mean squared difference, at least 0.

    Args:
        student: embeddings of the student, shape (N, D).
        teacher: embeddings of the frozen teacher for the same images, shape (N, D).

    Returns:
        Scalar: squared Frobenius norm divided by N^2, at most 4 / N.

    Source: Tung & Mori (ICCV 2019), eq. 3 and 4.
    """
    student_gram, teacher_gram = (F.normalize(rows @ rows.T, dim=1) for rows in (student, teacher))
    return (student_gram - teacher_gram).square().mean()


def pkt(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the probabilities with which images pick each other as neighbours: mean divergence, at least 0.

    `p_ij` is `(1 + cos_ij) / 2` divided by its sum over j, without i itself.

    Args:
        student: unit embeddings of the student, shape (N, D), N at least 3.
        teacher: unit embeddings of the frozen teacher for the same images, shape (N, D).

    Returns:
        Scalar: `KL(teacher || student)` summed over j, mean over i.

    Source: Passalis & Tefas (ECCV 2018), eq. 3, 4 and 6, with the cosine kernel.
    """
    return F.kl_div(_neighbours(student).log(), _neighbours(teacher), reduction="batchmean")


def _neighbours(rows: Tensor) -> Tensor:
    n = len(rows)
    others = ~torch.eye(n, dtype=torch.bool, device=rows.device)
    kernel = ((1 + rows @ rows.T) / 2)[others].view(n, n - 1).clamp_min(1e-9)
    return kernel / kernel.sum(dim=1, keepdim=True)
