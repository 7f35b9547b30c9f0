"""Filter generated images: keep those that a teacher assigns to the class they were requested for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from distill.data.decode import decode
from distill.models.teacher import Teacher


@dataclass(frozen=True)
class Prediction:
    """The teacher's top class of one image, and that class's probability in [0, 1]."""

    label: int
    probability: float


class TeacherFilter:
    """A zero-shot classifier over the classes of a set.

    Keeping only what a CLIP teacher classifies right is the optional filter of Popp et al. (2024). It also removes what *this teacher* fails to
    recognise.

    Args:
        teacher: frozen.
        class_names: C names in label order.
        templates: of its prompts.
    """

    def __init__(self, teacher: Teacher, class_names: Sequence[str], templates: Sequence[str]) -> None:
        self.teacher = teacher
        self.weights = teacher.class_weights(class_names, templates)

    def classify(self, files: Sequence[bytes]) -> list[Prediction]:
        """Classify encoded images of equal size, as they will be read back.

        Args:
            files: N encoded images.

        Returns:
            The top class of each, and its softmax probability at the teacher's own logit scale.
        """
        pixels = np.stack([np.asarray(decode(data)) for data in files]).transpose(0, 3, 1, 2)
        embeddings = self.teacher.embed_images(torch.from_numpy(pixels.copy()).float() / 255)
        shares = (embeddings @ self.weights * self.teacher.logit_scale).softmax(dim=1)
        top = shares.max(dim=1)
        return [Prediction(int(label), float(share)) for label, share in zip(top.indices, top.values, strict=True)]
