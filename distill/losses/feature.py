"""Feature distillation: pull the student's embedding of an image to the teacher's embedding of the same image."""

from __future__ import annotations

from torch import Tensor


def l2(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the mean Euclidean distance of unit embeddings, in [0, 2].

    The norm is not squared, so every image pulls with the same force until it arrives; `squared_l2` pulls harder on
    far images. For unit vectors it equals `mean(sqrt(2 - 2 cos))`.

    Args:
        student: unit embeddings of the student, shape (N, D).
        teacher: unit embeddings of the frozen teacher for the same images, shape (N, D).

    Returns:
        Scalar mean over the batch; sqrt(2) is expected for unrelated embeddings in many dimensions.

    Source: Popp, Metzen, Hein (TMLR 2024), the feature distillation loss `L_feat`.
    """
    # The gradient of a norm is undefined at zero: torch gives 0/0 = NaN there, so the distance is held above 1e-12.
    return (student - teacher).square().sum(dim=-1).clamp_min(1e-12).sqrt().mean()


def squared_l2(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the mean squared Euclidean distance of unit embeddings, in [0, 4].

    For unit vectors it equals `mean(2 - 2 cos)`, so its gradient is that of twice the cosine loss. A mean over D
    as well (`mse`) is this divided by D: CLIP-KD's weight of 2000 at D = 512 is a weight of 3.9 here.

    Args:
        student: unit embeddings of the student, shape (N, D).
        teacher: unit embeddings of the frozen teacher for the same images, shape (N, D).

    Returns:
        Scalar mean over the batch; 2 is expected for unrelated embeddings.

    Source: Popp, Metzen, Hein (TMLR 2024), squared variant; CLIP-KD (Yang et al., CVPR 2024), `FD` up to the factor D.
    """
    return (student - teacher).square().sum(dim=-1).mean()


def mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the mean squared error over images and dimensions, in [0, 4 / D].

    It is `squared_l2 / D`: a weight w here is a weight w / D there. CLIP-KD's 2000 at D = 512 is 3.9 of `squared_l2`.

    Args:
        student: unit embeddings of the student, shape (N, D).
        teacher: unit embeddings of the frozen teacher for the same images, shape (N, D).

    Returns:
        Scalar mean over the batch and D; 2 / D is expected for unrelated embeddings.

    Source: CLIP-KD (Yang et al., CVPR 2024), `FD`; its text part is zero where both share one frozen text tower.
    """
    return (student - teacher).square().mean()


def cosine(student: Tensor, target: Tensor) -> Tensor:
    """Compute the mean of one minus the cosine, in [0, 2]; it is half of `squared_l2`.

    Args:
        student: unit embeddings of the student, shape (N, D).
        target: unit embeddings to pull to, of the frozen teacher's images or texts, shape (N, D).

    Returns:
        Scalar mean over the batch; 1 is expected for unrelated embeddings.

    Source: common; towards texts it is the positive half of image-text contrast, without any negative (ours).
    """
    return (1 - (student * target).sum(dim=-1)).mean()
