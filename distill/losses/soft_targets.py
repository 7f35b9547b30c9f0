"""Soft targets: match a distribution over classes, texts or images instead of one right answer."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def zero_shot_kd(
    student: Tensor, teacher: Tensor, class_weights: Tensor, *, scale: Tensor | float, temperature: float, squared: bool
) -> Tensor:
    """Compute the divergence of the student's zero-shot class probabilities from the teacher's, at least 0.

    `KL(softmax(z_T / T) || softmax(z_S / T))` with `z = scale x.W`, times T^2 where `squared`: then the size of the gradient
    hardly depends on T. It sees the embeddings only through their cosines with C class prompts, so what lies across
    them is left free.

    Args:
        student: unit embeddings of the student, shape (N, D).
        teacher: unit embeddings of the frozen teacher for the same images, shape (N, D).
        class_weights: zero-shot classifier weights, unit columns, shape (D, C).
        scale: multiplier of cosines that the teacher was trained with, for both, so that equal embeddings give 0.
        temperature: T, positive, on top of it.
        squared: whether to multiply by T^2.

    Returns:
        Scalar mean over the batch; 0 where the student classifies as the teacher does.

    Source: Hinton, Vinyals, Dean (2015), section 2, over the zero-shot logits of Radford et al. (2021).
    """
    teacher_shares = F.softmax(scale * teacher @ class_weights / temperature, dim=1)
    student_log_shares = F.log_softmax(scale * student @ class_weights / temperature, dim=1)
    return F.kl_div(student_log_shares, teacher_shares, reduction="batchmean") * (temperature**2 if squared else 1.0)


def class_cross_entropy(student: Tensor, shares: Tensor, class_weights: Tensor, *, logit_scale: Tensor | float) -> Tensor:
    """Compute the cross-entropy of the labels over all class prompts, at least 0.

    Like `image_text_contrastive`, but every class is there in every batch, once, however common it is.

    Args:
        student: unit embeddings of the student, shape (N, D).
        shares: share of each class in each image, rows that sum to one, shape (N, C).
        class_weights: zero-shot classifier weights, unit columns, shape (D, C).
        logit_scale: multiplier of the cosines (1 / temperature), positive.

    Returns:
        Scalar mean over the batch; log C where nothing is told apart.

    Source: common: fine-tuning through the zero-shot classifier.
    """
    return F.cross_entropy(logit_scale * student @ class_weights, shares)


def affinity_kl(student: Tensor, teacher: Tensor, text: Tensor, *, logit_scale: Tensor | float, teacher_scale: Tensor | float) -> Tensor:
    """Compute how far the student's matching of images and texts in the batch is from the teacher's, both ways, at least 0.

    `1/2 [KL(p_T || p_S) image to text + the same text to image]`, p a softmax over the batch, each side at its own scale.
    TinyCLIP's and MobileCLIP's soft cross-entropy differs by the teacher's entropy, a constant: it has the same gradient.

    Args:
        student: unit embeddings of the student, shape (N, D).
        teacher: unit embeddings for the same images to take the matching from, shape (N, D).
        text: unit embeddings of each image's text by the frozen teacher, shape (N, D).
        logit_scale: multiplier of the student's cosines, positive.
        teacher_scale: multiplier of the teacher's cosines, positive.

    Returns:
        Scalar mean over the batch.

    Source: CLIP-KD (Yang et al., CVPR 2024), its `CRD` (contrastive *relational* distillation, not Tian's); affinity mimicking
    of TinyCLIP (Wu et al., ICCV 2023). With a moving average of the student as the teacher at the student's own scale: Cheng et al.
    (2021), form from memory.
    """
    student_logits, teacher_logits = logit_scale * student @ text.T, teacher_scale * teacher @ text.T
    forth = F.kl_div(F.log_softmax(student_logits, dim=1), F.softmax(teacher_logits, dim=1), reduction="batchmean")
    back = F.kl_div(F.log_softmax(student_logits.T, dim=1), F.softmax(teacher_logits.T, dim=1), reduction="batchmean")
    return (forth + back) / 2


def image_affinity_kl(student: Tensor, teacher: Tensor, *, logit_scale: Tensor | float) -> Tensor:
    """Compute how far the student's resemblance to the batch's teacher images is from the teacher's own, at least 0.

    `KL(softmax_j(scale t_i.t_j) || softmax_j(scale s_i.t_j))`: `image_image_contrastive` with soft answers in place of hard ones.

    Args:
        student: unit embeddings of the student, shape (N, D).
        teacher: unit embeddings of the frozen teacher for the same images, shape (N, D).
        logit_scale: multiplier of the cosines (1 / temperature), positive, for both; the target has no gradient in it.

    Returns:
        Scalar mean over the batch.

    Source: SEED (Fang et al., ICLR 2021), eq. 5, with the batch in place of its queue and one temperature for both.
    """
    fixed = logit_scale.detach() if isinstance(logit_scale, Tensor) else logit_scale
    teacher_shares = F.softmax(fixed * teacher @ teacher.T, dim=1)
    return F.kl_div(F.log_softmax(logit_scale * student @ teacher.T, dim=1), teacher_shares, reduction="batchmean")
