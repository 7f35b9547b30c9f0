"""What every test may ask for: a cache of its own, and a tiny data set, teacher and experiment made once a session."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

CLASSES = ("cat", "dog", "ship")
SIDE = 16


Run = Callable[..., tuple[int, str, str]]
"""Calls the command line in this process: exit code, standard output, standard error."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call `synthgap` with some arguments as a shell would."""
    from app import cli

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["synthgap", *map(str, arguments)])
        monkeypatch.delenv("SYNTHGAP_DEBUG", raising=False)
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep decoded images and teacher embeddings out of the user's cache; one folder a session, since keys are of content."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("SYNTHGAP_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write parquet files of 16 x 16 images of three classes, captioned: `train-*` (48 images) and `test-*` (30) of both domains."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    folder = tmp_path_factory.mktemp("data")
    for part, count in (("train", 48), ("test", 30)):
        for domain in ("real", "synthetic"):
            random = np.random.default_rng([len(part), len(domain)])
            labels = np.arange(count) % len(CLASSES)
            pixels = random.integers(0, 90, (count, SIDE, SIDE, 3)).astype(np.uint8)
            # The class is one bright colour; a synthetic image also has a bright corner.
            pixels[np.arange(count), :, :, labels] += 120
            if domain == "synthetic":
                pixels[:, :3, :3] = 250
            encoded = []
            for image in pixels:
                buffer = io.BytesIO()
                Image.fromarray(image).save(buffer, "PNG")
                encoded.append(buffer.getvalue())
            table = {
                "id": [f"{part}-{domain}-{row}" for row in range(count)],
                "image": encoded,
                "class_name": [CLASSES[label] for label in labels],
                "domain": [domain] * count,
                "caption": [f"a {CLASSES[label]} number {row % 4}" for row, label in enumerate(labels)],
            }
            pq.write_table(pa.table(table), folder / f"{part}-{domain}.parquet")
    return folder


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an untrained CLIP of 8 dimensions as `synthgap teach` writes a trained one."""
    import torch

    from distill.training.teach import TeachConfig, build_clip, save_clip

    out = tmp_path_factory.mktemp("teachers") / "tiny"
    out.mkdir()
    torch.manual_seed(7)
    config = TeachConfig(embed_dim=8, image_tower="test_byobnet", image_size=16, text_width=16, text_layers=1, context_length=8)
    model, _, settings = build_clip(config)
    save_clip(model, settings, out)
    return out


@pytest.fixture
def write_config(tiny_data: Path, teacher_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write an experiment of small students, two epochs each; keyword arguments replace whole tables of it."""
    import tomli_w

    def write(**changes: object) -> Path:
        experiment: dict[str, object] = {
            "name": "tiny",
            "seeds": [0],
            "data": {
                "folder": str(tiny_data),
                "train": {"synthetic": "train-synthetic.parquet", "real": "train-real.parquet"},
                "test": {"synthetic": "test-synthetic.parquet", "real": "test-real.parquet"},
            },
            "teacher": {"model": f"local-dir:{teacher_folder}"},
            "student": {"model": "builtin:small_resnet", "kwargs": {"widths": [4, 8]}},
            "training": {"epochs": 2, "batch_size": 16, "precision": "fp32"},
            "views": {"count": 2},
            "students": {"l2": {"loss": {"l2": 1.0}}},
        }
        path = tmp_path / "tiny.toml"
        path.write_text(tomli_w.dumps(experiment | changes))
        return path

    return write
