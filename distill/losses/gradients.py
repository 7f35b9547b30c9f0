"""Gradient distillation: feel the same pull of the contrastive loss as the teacher does."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive_gradients(images: Tensor, text: Tensor, *, logit_scale: Tensor | float) -> tuple[Tensor, Tensor]:
    """Compute the gradients of the batch's summed CLIP loss with respect to its embeddings, in closed form.

    With P the softmax of images over texts and Q that of texts over images,
    `G_image = scale/2 [(P - I) + (Q - I)^T] text` and `G_text = scale/2 [(P - I)^T + (Q - I)] images`.

    Args:
        images: unit embeddings, shape (N, D).
        text: unit embeddings, shape (N, D).
        logit_scale: multiplier of the cosines, positive.

    Returns:
        Two tensors of shape (N, D). Divided by N they are the gradients of the mean loss.

    Source: CLIP-KD (Yang et al., CVPR 2024), section 3.5.
    """
    logits = logit_scale * images @ text.T
    eye = torch.eye(len(images), dtype=logits.dtype, device=logits.device)
    pull = (F.softmax(logits, dim=1) + F.softmax(logits, dim=0)) / 2 - eye
    return logit_scale * pull @ text, logit_scale * pull.T @ images


def gradient_distillation(
    student: Tensor, teacher: Tensor, text: Tensor, *, logit_scale: Tensor | float, teacher_scale: Tensor | float
) -> Tensor:
    """Compute the mean squared distance between student's and teacher's gradients of the contrastive loss, at least 0.

    Published as a mean over D too and with gradients of the mean loss, hence the weight of 1e8: that is
    1e8 / (N^2 D) here, 0.19 at N = 1024 and D = 512.

    Args:
        student: unit embeddings of the student, shape (N, D).
        teacher: unit embeddings of the frozen teacher for the same images, shape (N, D).
        text: unit embeddings of each image's text by the frozen teacher, shape (N, D).
        logit_scale: multiplier of the student's cosines, positive.
        teacher_scale: multiplier of the teacher's cosines, positive.

    Returns:
        Scalar: squared norms summed over D, mean over N, image part plus text part.

    Source: CLIP-KD (Yang et al., CVPR 2024), `GD`.
    """
    student_gradients = contrastive_gradients(student, text, logit_scale=logit_scale)
    teacher_gradients = contrastive_gradients(teacher, text, logit_scale=teacher_scale)
    image, words = ((a - b).square().sum(dim=1).mean() for a, b in zip(student_gradients, teacher_gradients, strict=True))
    return image + words
