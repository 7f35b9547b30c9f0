"""A trained student with what its checkpoint says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.models.encoder import Encoder, parameter_count, weights_hash


@dataclass(frozen=True)
class TrainedStudent:
    """A trained student with what its checkpoint says of it.

    Args:
        encoder: images in [0, 1] -> raw embeddings (N, D), in eval mode.
        description: as `distill.models.checkpoint.save_student` wrote it.
        path: the checkpoint.
    """

    encoder: Encoder
    description: dict[str, Any]
    path: Path

    @property
    def image_size(self) -> int:
        """Side of the images it was trained on, in pixels."""
        return int(self.description["image_size"])

    def facts(self) -> dict[str, Any]:
        """Return what a user of another tool must know: input, preprocessing inside the model, output, and training."""
        return {
            "student": self.description.get("name", self.path.parent.name),
            "spec": self.description["spec"],
            "input": {"shape": ["N", 3, self.image_size, self.image_size], "dtype": "float32", "range": [0, 1], "colours": "RGB"},
            "inside": {
                "resize": self.encoder.input_size,
                "mean": self.encoder.mean.flatten().tolist(),
                "std": self.encoder.std.flatten().tolist(),
            },
            "output": {"shape": ["N", int(self.description["embed_dim"])], "normalised": False},
            "params": parameter_count(self.encoder),
            "weights_hash": weights_hash(self.encoder),
            "training": {key: value for key, value in self.description.items() if key not in ("format", "spec")},
        }
