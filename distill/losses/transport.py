"""OTTER: targets from optimal transport, for pairs that may be wrong and texts that fit several images."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def sinkhorn(cost: Tensor, *, epsilon: float, iterations: int) -> Tensor:
    """Approximate the entropic optimal transport plan between uniform marginals.

    Starting from `exp(-cost / epsilon)`, rows and then columns are scaled to sum to 1 / N, `iterations` times; computed
    with logarithms, so that no epsilon underflows.

    Args:
        cost: shape (N, M).
        epsilon: strength of the entropy, positive; smaller is nearer to a one-to-one matching.
        iterations: rounds, at least 1.

    Returns:
        The plan, shape (N, M), at least 0; its columns sum to 1 / M exactly, its rows to 1 / N at convergence.

    Source: Cuturi (NeurIPS 2013), algorithm 1.
    """
    plan = -cost / epsilon
    n, m = plan.shape
    for _ in range(iterations):
        plan = plan - plan.logsumexp(dim=1, keepdim=True) - math.log(n)
        plan = plan - plan.logsumexp(dim=0, keepdim=True) - math.log(m)
    return plan.exp()


@torch.no_grad()
def otter_targets(
    images: Tensor, text: Tensor, *, epsilon: float, iterations: int, image_weight: float, text_weight: float
) -> tuple[Tensor, Tensor]:
    """Compute soft targets of a batch by optimal transport: the share of each text for each image, and of each image for each text.

    The gain is `image_weight (V V^t - 100 I) + text_weight (T T^t - 100 I) + V T^t`: who looks alike and who is described alike
    belongs together; the diagonal is pushed out, because the given pairs are the business of the hard loss beside it.

    Args:
        images: unit embeddings V of the teacher, here the moving average of the student, shape (N, D).
        text: unit embeddings T, shape (N, D).
        epsilon: of `sinkhorn`.
        iterations: of `sinkhorn`.
        image_weight: of the resemblance of images.
        text_weight: of the resemblance of texts.

    Returns:
        Two tensors of shape (N, N) whose rows sum to one.

    Source: OTTER (Wu et al., ICLR 2022), section 3.2 and its code's constants.
    """
    out = 100.0 * torch.eye(len(images), dtype=images.dtype, device=images.device)
    gain = image_weight * (images @ images.T - out) + text_weight * (text @ text.T - out) + images @ text.T
    forth = sinkhorn(-gain, epsilon=epsilon, iterations=iterations)
    back = sinkhorn(-gain.T, epsilon=epsilon, iterations=iterations)
    return forth / forth.sum(dim=1, keepdim=True), back / back.sum(dim=1, keepdim=True)


def otter(
    student: Tensor,
    momentum: Tensor,
    text: Tensor,
    *,
    logit_scale: Tensor | float,
    epsilon: float,
    iterations: float,
    image_weight: float,
    text_weight: float,
) -> Tensor:
    """Compute the divergence of the student's matching of images and texts from OTTER's targets, both ways, at least 0.

    The soft half of OTTER alone: mix it in equal parts with `image_text_contrastive` for the published loss (up to a factor of two,
    since OTTER adds the two ways where we take their mean).

    Args:
        student: unit embeddings of the student, shape (N, D).
        momentum: unit embeddings of the same images by the student's moving average, without gradient, shape (N, D).
        text: unit embeddings of each image's text by the frozen teacher, shape (N, D).
        logit_scale: multiplier of the cosines (1 / temperature), positive.
        epsilon: of `sinkhorn`.
        iterations: of `sinkhorn`.
        image_weight: of the resemblance of images.
        text_weight: of the resemblance of texts.

    Returns:
        Scalar mean over the batch.

    Source: OTTER (Wu et al., ICLR 2022), eq. 5.
    """
    forth, back = otter_targets(
        momentum, text, epsilon=epsilon, iterations=int(iterations), image_weight=image_weight, text_weight=text_weight
    )
    logits = logit_scale * student @ text.T
    first = F.kl_div(F.log_softmax(logits, dim=1), forth, reduction="batchmean")
    second = F.kl_div(F.log_softmax(logits.T, dim=1), back, reduction="batchmean")
    return (first + second) / 2
