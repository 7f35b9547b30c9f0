"""What all steps of one diagnosis share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from diagnose.inputs.epochs import few_images
from diagnose.inputs.subjects import Images, groups_of
from probes.probe_input import EmbedText

Progress = Callable[[str, int, int], None]
"""`progress(what, done, total)`."""


@dataclass(frozen=True)
class DiagnosisSettings:
    """What all steps of one diagnosis share.

    Args:
        images: images of each domain, over the same classes, with ids that differ.
        class_weights: (D, C) zero-shot classifier weights of the teacher's texts; None where the teacher cannot name classes.
        out: folder of the run.
        logit_scale: multiplier of the cosines, positive.
        seed: seed of every random draw.
        batch_size: images in one forward pass.
        progress: called by one thread at a time.
        embed_text: the teacher's text tower, or None.
        edited: images of each domain that `interventions` edits; None for its own default.
    """

    images: tuple[Images, ...]
    class_weights: np.ndarray | None
    out: Path
    logit_scale: float
    seed: int
    batch_size: int
    progress: Progress
    embed_text: EmbedText | None = None
    edited: int | None = None

    @cached_property
    def few(self) -> DiagnosisSettings:
        """The same with few images of each domain, which the encoders of every epoch embed."""
        return replace(self, images=few_images(self.images, seed=self.seed))

    @cached_property
    def groups(self) -> np.ndarray | None:
        """Group of each image (N,), real ones first; None where no image has one."""
        return groups_of(self.images)

    @property
    def fingerprint(self) -> str:
        """Hash of the images of both domains."""
        return "+".join(images.fingerprint for images in self.images)
