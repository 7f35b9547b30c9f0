"""Contrastive distillation: tell the right target from the other targets of the batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(anchors: Tensor, targets: Tensor, *, logit_scale: Tensor | float) -> Tensor:
    """Compute one-way InfoNCE: the cross-entropy of finding target i for anchor i among the batch's targets.

    Args:
        anchors: unit embeddings, shape (N, D).
        targets: unit embeddings, shape (N, D); row i belongs to anchor i, all other rows are negatives.
        logit_scale: multiplier of the cosines, the inverse of the temperature, positive.

    Returns:
        Scalar mean over the batch, at least 0; log N where nothing is told apart.

    Source: van den Oord et al. (2018), eq. 4; `NCE(a, b)` of Popp, Metzen, Hein (TMLR 2024).
    """
    logits = logit_scale * anchors @ targets.T
    return F.cross_entropy(logits, torch.arange(len(anchors), device=anchors.device))


def image_text_contrastive(student: Tensor, text: Tensor, *, logit_scale: Tensor | float) -> Tensor:
    """Compute the symmetric CLIP loss between student images and the teacher's embeddings of their texts.

    With class prompts as texts the images of one class share a target, so that their texts are false negatives of each
    other; the loss then cannot fall below the entropy of that tie.

    Args:
        student: unit embeddings of the student's images, shape (N, D).
        text: unit embeddings of each image's class prompt or caption by the frozen teacher, shape (N, D).
        logit_scale: multiplier of the cosines (1 / temperature), positive.

    Returns:
        Scalar mean over the batch, at least 0; log N where nothing is told apart.

    Source: Radford et al. (2021); the vision-language loss `L_VL` of Popp, Metzen, Hein (TMLR 2024).
    """
    return (info_nce(student, text, logit_scale=logit_scale) + info_nce(text, student, logit_scale=logit_scale)) / 2


def image_image_contrastive(student: Tensor, teacher: Tensor, *, logit_scale: Tensor | float) -> Tensor:
    """Compute one-way InfoNCE from student images to teacher images: contrast without any text.

    It is the control that tells the contrast from the text: negatives as in `image_text_contrastive`, targets as in `l2`.

    Args:
        student: unit embeddings of the student, shape (N, D).
        teacher: unit embeddings of the frozen teacher for the same images, shape (N, D).
        logit_scale: multiplier of the cosines (1 / temperature), positive.

    Returns:
        Scalar mean over the batch, at least 0; log N where nothing is told apart.

    Source: the image-to-image loss `L_I2I` of Popp, Metzen, Hein (TMLR 2024).
    """
    return info_nce(student, teacher, logit_scale=logit_scale)


def multi_positive_contrastive(anchors: Tensor, targets: Tensor, positives: Tensor, *, logit_scale: Tensor | float) -> Tensor:
    """Compute supervised contrast: every target that shares the anchor's class is a right answer.

    `-(1/N) sum_i sum_j w_ij log softmax_j(scale a_i.t_j)` with the rows of w normalised `positives`.

    Where the positives of an anchor are equal, as texts of one class prompt are, this is `info_nce` itself: the tie among
    them is a constant. It differs for images of one class and for captions.

    Args:
        anchors: unit embeddings, shape (N, D).
        targets: unit embeddings, shape (N, D).
        positives: weight of target j for anchor i, at least 0, with a positive diagonal, shape (N, N).
        logit_scale: multiplier of the cosines (1 / temperature), positive.

    Returns:
        Scalar mean over the batch; at least the mean entropy of the rows of w.

    Source: Khosla et al. (NeurIPS 2020), eq. 2 (`L_out`), from student anchors to frozen targets.
    """
    share = positives / positives.sum(dim=1, keepdim=True)
    return -(share * F.log_softmax(logit_scale * anchors @ targets.T, dim=1)).sum(dim=1).mean()


def supcon_text(student: Tensor, text: Tensor, shares: Tensor, *, logit_scale: Tensor | float) -> Tensor:
    """Compute image-text contrast whose positives are all texts, and all images, of the same class, both ways.

    With class prompts it equals `image_text_contrastive`; with captions it takes the false negatives away.

    Args:
        student: unit embeddings of the student's images, shape (N, D).
        text: unit embeddings of each image's text by the frozen teacher, shape (N, D).
        shares: share of each class in each image, rows that sum to one, shape (N, C).
        logit_scale: multiplier of the cosines (1 / temperature), positive.

    Returns:
        Scalar mean over the batch; log N where nothing is told apart.

    Source: Khosla et al. (2020) across modalities; UniCL (Yang et al., CVPR 2022), eq. 3 is the same idea.
    """
    same = shares @ shares.T
    forth = multi_positive_contrastive(student, text, same, logit_scale=logit_scale)
    return (forth + multi_positive_contrastive(text, student, same, logit_scale=logit_scale)) / 2


def supcon_image(student: Tensor, teacher: Tensor, shares: Tensor, *, logit_scale: Tensor | float) -> Tensor:
    """Compute one-way contrast from student images to teacher images whose positives are all images of the same class.

    Args:
        student: unit embeddings of the student, shape (N, D).
        teacher: unit embeddings of the frozen teacher for the same images, shape (N, D).
        shares: share of each class in each image, rows that sum to one, shape (N, C).
        logit_scale: multiplier of the cosines (1 / temperature), positive.

    Returns:
        Scalar mean over the batch; log N where nothing is told apart.

    Source: Khosla et al. (2020), eq. 2, with the teacher's embeddings as the second view.
    """
    return multi_positive_contrastive(student, teacher, shares @ shares.T, logit_scale=logit_scale)


def siglip(student: Tensor, text: Tensor, *, logit_scale: Tensor | float, bias: Tensor | float) -> Tensor:
    """Compute the pairwise sigmoid loss: each image-text pair is judged by itself, right or wrong.

    `-(1/N) sum_ij log sigmoid(z_ij (scale s_i.c_j + bias))`, z = 1 on the diagonal and -1 elsewhere. Texts of the same
    class are wrong answers here too, as published.

    Args:
        student: unit embeddings of the student's images, shape (N, D).
        text: unit embeddings of each image's text by the frozen teacher, shape (N, D).
        logit_scale: multiplier of the cosines, positive; published as learned from 10.
        bias: added to every logit; published as learned from -10, so that the many wrong pairs cost little at the start.

    Returns:
        Scalar: sum over all pairs divided by N, at least 0.

    Source: Zhai et al. (ICCV 2023), algorithm 1.
    """
    logits = logit_scale * student @ text.T + bias
    signs = 2 * torch.eye(len(student), dtype=logits.dtype, device=logits.device) - 1
    return -F.logsigmoid(signs * logits).sum() / len(student)
