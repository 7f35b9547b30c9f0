"""A world as small as can be for the faults and the soak: images of three classes, a teacher, an experiment, and the four long commands."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w
from PIL import Image

CLASSES = ("cat", "dog", "ship")
SIDE = 16
PROBES = ("transfer", "separability", "drift")


@dataclass(frozen=True)
class World:
    """Where everything is.

    Args:
        folder: of the world.
    """

    folder: Path

    @property
    def config(self) -> Path:
        """Path of the experiment: two students, six epochs."""
        return self.folder / "tiny.toml"

    def train(self, out: Path) -> list[object]:
        """Return the command that trains."""
        return ["train", self.config, "--out", out, "--resume"]

    def embed(self, out: Path) -> list[object]:
        """Return the command that embeds with a trained student of `whole/train`."""
        student = self.folder / "whole" / "train" / "students" / "l2-synthetic-s0" / "student.safetensors"
        return ["embed", student, self.folder / "data" / "test-real.parquet", "--out", out]

    def synthesize(self, out: Path) -> list[object]:
        """Return the command that generates images."""
        options = ("--classes", "one,two", "--per-class", 6, "--steps", 1, "--batch-size", 2)
        return ["synthesize", "--generator", "pocket", *options, "--out", out, "--resume"]

    def diagnose(self, out: Path) -> list[object]:
        """Return the command that diagnoses a trained run."""
        return ["diagnose", out, *(part for probe in PROBES for part in ("--probe", probe))]


def build(folder: Path) -> World:
    """Write the world into a new folder."""
    (folder / "data").mkdir(parents=True)
    for part, count in (("train", 96), ("test", 60)):
        for domain in ("real", "synthetic"):
            _write_images(folder / "data" / f"{part}-{domain}.parquet", part, domain, count)
    _write_teacher(folder / "teacher")
    experiment = {
        "name": "tiny",
        "seeds": [0],
        "data": {
            "folder": str(folder / "data"),
            "train": {"synthetic": "train-synthetic.parquet"},
            "test": {"synthetic": "test-synthetic.parquet", "real": "test-real.parquet"},
        },
        "teacher": {"model": f"local-dir:{folder / 'teacher'}"},
        "student": {"model": "builtin:small_resnet", "kwargs": {"widths": [8, 16]}},
        "training": {"epochs": 6, "batch_size": 16, "precision": "fp32"},
        "views": {"count": 2},
        "students": {"l2": {"loss": {"l2": 1.0}}, "text": {"loss": {"image_text_contrastive": 1.0}, "temperature": "learned"}},
    }
    world = World(folder)
    world.config.write_text(tomli_w.dumps(experiment))
    return world


def _write_images(path: Path, part: str, domain: str, count: int) -> None:
    random = np.random.default_rng([len(part), len(domain)])
    labels = np.arange(count) % len(CLASSES)
    pixels = random.integers(0, 90, (count, SIDE, SIDE, 3)).astype(np.uint8)
    pixels[np.arange(count), :, :, labels] += 120
    if domain == "synthetic":
        pixels[:, :3, :3] = 250
    encoded = []
    for image in pixels:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        encoded.append(buffer.getvalue())
    ids = [f"{part}-{domain}-{row}" for row in range(count)]
    names = [CLASSES[label] for label in labels]
    pq.write_table(pa.table({"id": ids, "image": encoded, "class_name": names, "domain": [domain] * count}), path)


def _write_teacher(out: Path) -> None:
    """Write an untrained CLIP of 8 dimensions as `synthgap teach` writes a trained one."""
    import torch

    from distill.training.teach import TeachConfig, build_clip, save_clip

    out.mkdir()
    torch.manual_seed(7)
    config = TeachConfig(embed_dim=8, image_tower="test_byobnet", image_size=SIDE, text_width=16, text_layers=1, context_length=8)
    model, _, settings = build_clip(config)
    save_clip(model, settings, out)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
