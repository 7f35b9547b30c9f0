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
