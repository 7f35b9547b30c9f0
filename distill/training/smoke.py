"""A rehearsal of an experiment: every model and image replaced by a tiny stand-in that is built on the spot."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from distill.data.shards import expand_braces
from distill.models.checkpoint import save_student
from distill.models.student import attach_projection, build_backbone
from distill.text.captions import placeholders
from distill.training.config import Experiment, TextConfig
from distill.training.teach import TeachConfig, build_clip, save_clip
from distill.training.views import ViewConfig

CLASSES = ("red thing", "green thing", "blue thing")
SIDE, BATCH, DIM = 32, 6, 16
TRAIN, TEST = 2 * BATCH, 12

TINY_VIT = {"embed_dims": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "window_sizes": [2, 2, 2, 2]}


def stand_ins(experiment: Experiment, folder: Path) -> Experiment:
    """Build tiny data, teacher and student, and give the experiment over them: two steps for each student.

    What is kept is all that the file says of losses, texts, views, optimiser and schedule, the kind of every source (shards stay shards), the
    family of the student, and that it starts from a checkpoint where the file says so.

    Args:
        experiment: what is to be rehearsed.
        folder: folder to make for the stand-ins.

    Returns:
        The same experiment at a thousandth of its size, with one seed and one epoch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = experiment.data.model_dump()
    train = {name: _data(folder / f"train-{name}", spec, _domain(name), TRAIN, at=1) for name, spec in experiment.data.train.items()}
    test = {name: _data(folder / f"test-{name}", spec, name, TEST, at=2) for name, spec in experiment.data.test.items()}
    streams = {}
    for name, stream in experiment.data.streams.items():
        for number in range(2 * stream.together):
            _shard(folder / f"{name}-{number:02d}.tar", list(_images(TRAIN, "real", at=3 + number)), labelled=False)
        shards = str(folder / f"{name}-{{00..{2 * stream.together - 1:02d}}}.tar")
        streams[name] = {"shards": shards, "images": TRAIN, "together": stream.together}
    data |= {"folder": "", "train": train, "test": test, "streams": streams, "image_size": SIDE, "limit": None, "task": ""}
    data |= dict.fromkeys(("class_column", "domain_column", "group_column", "image_column", "class_names", "split", "layout"), "")
    texts = {name: text.model_copy(update={"words": _words(text)}).model_dump() for name, text in experiment.texts.items()}
    spec, kwargs = _tiny(experiment.student.model)
    init = _checkpoint(folder / "init.safetensors", spec, kwargs) if experiment.student.init else ""
    changes = {
        "data": data,
        "texts": texts,
        "teacher": {"model": str(_teacher(folder / "teacher")), "templates": experiment.teacher.templates},
        "student": {"model": spec, "kwargs": kwargs, "init": init},
        "training": experiment.training.model_dump() | {"epochs": 1, "batch_size": BATCH, "accumulation": 1},
        "views": experiment.views.model_dump() | {"count": 1},
        "seeds": experiment.seeds[:1],
    }
    return Experiment.model_validate(experiment.model_dump() | changes)


def _words(text: TextConfig) -> dict[str, list[str]]:
    """Return words for placeholders that the experiment fills from text columns, which the stand-ins lack."""
    named = dict.fromkeys(place for template in text.templates for place in placeholders(template))
    return {name: text.words.get(name, ["plain"]) for name in named}


def _domain(name: str) -> str:
    return name if name in ("real", "synthetic") else "synthetic"


def _images(count: int, domain: str, *, at: int) -> Iterator[tuple[bytes, int]]:
    """Draw coloured noise, the class being the colour, as JPEG or PNG of unequal sides; and its label."""
    random = np.random.default_rng([at, len(domain)])
    for row in range(count):
        label = row % len(CLASSES)
        height, width = (SIDE + 4, SIDE + 9) if row % 2 else (SIDE + 6, SIDE)
        pixels = random.integers(0, 90, (height, width, 3)).astype(np.uint8)
        pixels[:, :, label] += 120
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG")
        yield buffer.getvalue(), label


def _data(place: Path, spec: str, domain: str, count: int, *, at: int) -> str:
    """Write labelled images in the form that a spec is of: shards where it names shards, else parquet."""
    images = list(_images(count, domain, at=at))
    if expand_braces(spec)[0].endswith(".tar"):
        place.mkdir(exist_ok=True)
        (place / "classnames.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
        half = len(images) // 2
        for number, part in enumerate((images[:half], images[half:])):
            _shard(place / f"{number}.tar", part, labelled=True)
        return str(place / "{0..1}.tar")
    table: dict[str, object] = {
        "id": [f"{place.name}-{row}" for row in range(count)],
        "image": [data for data, _ in images],
        "label": [label for _, label in images],
        "class_name": [CLASSES[label] for _, label in images],
        "domain": [domain] * count,
        "caption": [f"a photo of a {CLASSES[label]}, in a field, at dawn" for _, label in images],
    }
    pq.write_table(pa.table(table), f"{place}.parquet")
    return f"{place}.parquet"


def _shard(path: Path, images: list[tuple[bytes, int]], *, labelled: bool) -> None:
    with tarfile.open(path, "w") as tar:
        for row, (data, label) in enumerate(images):
            caption = f"a photo of a {CLASSES[label]}, in a field, at dawn"
            parts = [("jpg", data), ("txt", caption.encode()), *([("cls", str(label).encode())] if labelled else [])]
            for suffix, content in parts:
                member = tarfile.TarInfo(f"{path.stem}{row:05d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def _tiny(spec: str) -> tuple[str, dict[str, object]]:
    """Return the smallest student of a family: its spec and arguments."""
    if spec.startswith("timm:tiny_vit"):
        return spec, dict(TINY_VIT)
    if spec.startswith(("timm:efficientnet", "timm:tf_efficientnet")):
        return "timm:test_efficientnet", {}
    if spec.startswith(("timm:vit", "timm:deit")):
        return "timm:test_vit", {"img_size": SIDE}
    return "builtin:small_resnet", {"widths": [4, 8]}


def _checkpoint(path: Path, spec: str, kwargs: dict[str, object]) -> str:
    torch.manual_seed(1)
    encoder = attach_projection(build_backbone(spec, kwargs), DIM, image_size=SIDE)
    save_student(path, encoder, {"spec": spec, "kwargs": kwargs, "embed_dim": DIM, "image_size": SIDE})
    return str(path)


def _teacher(folder: Path) -> Path:
    """Write an untrained CLIP as `synthgap teach` writes a trained one."""
    torch.manual_seed(2)
    config = TeachConfig(
        embed_dim=DIM, image_tower="test_byobnet", image_size=SIDE, text_width=16, text_layers=1, context_length=77, views=ViewConfig()
    )
    model, _, settings = build_clip(config)
    folder.mkdir(exist_ok=True)
    save_clip(model, settings, folder)
    return folder
