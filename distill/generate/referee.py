"""Let a teacher leave out pictures in which it does not see the class that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from distill.data.decode import decode
from distill.models.teacher import Teacher


@dataclass(frozen=True)
class Sighting:
    """What the teacher sees in one picture: its top class and that class's probability."""

    label: int
    probability: float


class Referee:
    """A zero-shot classifier over the classes of a set.

    Keeping only what a CLIP teacher classifies right is Popp et al.'s optional filter; note that the kept pictures then are those that
    look right *to this teacher*.

    Args:
        teacher: frozen.
        class_names: C names in label order.
        templates: of its prompts.
    """

    def __init__(self, teacher: Teacher, class_names: Sequence[str], templates: Sequence[str]) -> None:
        self.teacher = teacher
        self.weights = teacher.class_weights(class_names, templates)

    def look(self, files: Sequence[bytes]) -> list[Sighting]:
        """Classify encoded pictures of equal size, as they will be read back.

        Returns:
            The top class of each, and its softmax probability at the teacher's own logit scale.
        """
        pixels = np.stack([np.asarray(decode(data)) for data in files]).transpose(0, 3, 1, 2)
        embeddings = self.teacher.embed_images(torch.from_numpy(pixels.copy()).float() / 255)
        shares = (embeddings @ self.weights * self.teacher.logit_scale).softmax(dim=1)
        top = shares.max(dim=1)
        return [Sighting(int(label), float(share)) for label, share in zip(top.indices, top.values, strict=True)]
