"""A set of composed pictures: which object stands on which background, written so that it can be interrupted and gone on with."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from distill.compose.cutouts import CutOut, find_cutouts, held_out
from distill.compose.scenes import Scene, compose_scene
from distill.data.decode import MAX_SIZE, BadImageError, decode
from distill.data.pixel_cache import collect, refuse
from distill.data.split import Split
from distill.system.atomic_files import write_then_rename
from distill.system.untrusted_text import read_json

if TYPE_CHECKING:
    from rich.progress import Progress

MANIFEST = "manifest.parquet"
SETTINGS = "compose.json"

Part = Literal["all", "train", "test"]
"""Which objects and backgrounds: all, or those of one side of a partition in which none is on both sides."""


class ComposeConfig(BaseModel):
    """All that decides which pictures a set holds; equal configurations over equal files give equal sets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int = Field(1000, ge=2, description="pictures of the set")
    tie: float = Field(0.95, ge=0, le=1, description="share of each class's pictures on the place that the class is tied to")
    size: int = Field(224, ge=8, le=MAX_SIZE, description="side of the pictures in pixels")
    scale: tuple[float, float] = Field((0.35, 0.7), description="least and greatest longer side of an object, as a share of the picture")
    objects_per_image: int = Field(1, ge=1, le=20, description="objects in a picture; the first decides the class")
    part: Part = Field("all", description="all, train or test")
    test_share: float = Field(0.4, gt=0, lt=1, description="share of objects and backgrounds that are kept for the test part")
    domain: Literal["real", "synthetic"] = "synthetic"
    template: str = Field("a photo of a {object} on {place}", description="caption where a cut-out has none of its own, and beside it")
    seed: int = Field(0, ge=0, lt=2**32)

    @field_validator("scale")
    @classmethod
    def _rising(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError(f"`scale` must rise within (0, 1], got {value[0]} to {value[1]}; such as 0.35,0.7.")
        return value

    @model_validator(mode="after")
    def _visible(self) -> ComposeConfig:
        if self.scale[0] * self.size < 4:
            raise ValueError(f"`scale` must leave objects of at least 4 pixels, got {self.scale[0]} of {self.size}; give larger pictures.")
        return self


@dataclass(frozen=True)
class Plan:
    """One picture before it is composed.

    Args:
        id: its name.
        label: class of its first object.
        place: number of the place it shows.
        cutouts: positions of its objects among the cut-outs of the part.
        background: position of its background in the split.
    """

    id: str
    label: int
    place: int
    cutouts: tuple[int, ...]
    background: int


def place_counts(images: int, classes: int, places: int, tie: float) -> np.ndarray:
    """Count the pictures of each class on each place.

    Class c is tied to place c mod P. Its share `tie` of pictures shows that place, the rest is spread evenly over the others.

    Args:
        images: N pictures.
        classes: C.
        places: P, at least 2.
        tie: 1/P makes class and place independent, 1 leaves no picture on another place.

    Returns:
        (C, P) int64 that sums to N; classes differ by one picture at most.
    """
    per_class = np.full(classes, images // classes)
    per_class[: images % classes] += 1
    counts = np.zeros((classes, places), dtype=np.int64)
    for label, count in enumerate(per_class):
        tied = label % places
        counts[label, tied] = round(tie * count)
        others = [place for place in range(places) if place != tied]
        rest = int(count - counts[label, tied])
        for number, place in enumerate(others):
            counts[label, place] = rest // len(others) + (number < rest % len(others))
    return counts


def plan_pictures(
    config: ComposeConfig, cutouts: Sequence[CutOut], classes: int, backgrounds_of: Sequence[Sequence[int]], *, prefix: str
) -> list[Plan]:
    """Choose objects and backgrounds for every picture.

    Args:
        config: what to make.
        cutouts: of the part.
        classes: C.
        backgrounds_of: for each place the positions of its backgrounds.
        prefix: begins every id.
    """
    of_class = [[place for place, cutout in enumerate(cutouts) if cutout.label == label] for label in range(classes)]
    random = np.random.default_rng([config.seed, 1])
    counts = place_counts(config.images, classes, len(backgrounds_of), config.tie)
    pictures: list[Plan] = []
    for label in range(classes):
        objects = _cycle(of_class[label], int(counts[label].sum()), random)
        for place, count in enumerate(counts[label]):
            for background in _cycle(backgrounds_of[place], int(count), random):
                others = random.choice(len(cutouts), size=config.objects_per_image - 1, replace=True)
                chosen = (objects.pop(), *map(int, others))
                pictures.append(Plan(f"{prefix}-{len(pictures):06d}", label, place, chosen, background))
    return pictures


def _cycle(values: Sequence[int], count: int, random: np.random.Generator) -> list[int]:
    """Draw so many values, each as often as every other to within one."""
    rounds = [random.permutation(values) for _ in range(-(-count // len(values)))] if count else []
    return [int(value) for value in np.concatenate(rounds)[:count]] if rounds else []


def compose(
    objects: Path,
    backgrounds: Split,
    out: Path,
    config: ComposeConfig,
    *,
    classes: Mapping[str, Sequence[str]] | None = None,
    places: Mapping[str, Sequence[str]] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Compose a labelled set with exact masks and groups.

    Args:
        objects: folder of cut-outs, see `find_cutouts`.
        backgrounds: background images; their classes are the places, unless `places` says otherwise.
        out: folder to make: `images/`, `masks/` (uint8 PNG, 0 background, i the i-th object), `manifest.parquet`.
        config: what to make.
        classes: class name -> folders of `objects`.
        places: place -> classes of `backgrounds` that show it; other classes are not used.
        resume: go on with an interrupted set, to the same bytes.
        progress: rich progress, or None.

    Returns:
        The manifest, which `load_split` reads: `id`, `class_name`, `domain`, `caption`, `group` (`CLASS on PLACE`), `place`, `object`,
        `background`, `mask`.

    Raises:
        FileExistsError: for a folder that is there and `resume` not set.
        FileNotFoundError, ValueError: for cut-outs or backgrounds that cannot be used, before anything is written.
    """
    if out.exists() and any(out.iterdir()) and not resume:
        raise FileExistsError(f"`out` must be a new folder, got {out}; add --resume or choose another.")
    all_cutouts, class_names = find_cutouts(objects, classes)
    cutouts = _part_of_cutouts(all_cutouts, config)
    place_names, backgrounds_of = _places(backgrounds, places, config)
    _same_settings(out, config, all_cutouts, backgrounds)
    pictures = plan_pictures(config, cutouts, len(class_names), backgrounds_of, prefix=f"{config.part}-{config.seed}")
    objects_by_cutout = {cutout: cutouts[cutout].read() for picture in pictures for cutout in picture.cutouts}
    task = progress.add_task("pictures", total=len(pictures)) if progress else None
    for number, picture in enumerate(pictures):
        image, mask = out / "images" / f"{picture.id}.png", out / "masks" / f"{picture.id}.png"
        if not (image.is_file() and mask.is_file()):
            background = _background(backgrounds, picture.background)
            random = np.random.default_rng([config.seed, 2, number])
            scene = compose_scene(
                background, [objects_by_cutout[cutout] for cutout in picture.cutouts], size=config.size, scale=config.scale, random=random
            )
            _write_scene(scene, image, mask)
        if progress is not None and task is not None:
            progress.advance(task)
    return _write_manifest(pictures, cutouts, class_names, place_names, backgrounds, out, config)


def _part_of_cutouts(cutouts: Sequence[CutOut], config: ComposeConfig) -> list[CutOut]:
    if config.part == "all":
        return list(cutouts)
    kept: list[CutOut] = []
    for label in sorted({cutout.label for cutout in cutouts}):
        same = [cutout for cutout in cutouts if cutout.label == label]
        if len(same) < 2:
            raise ValueError(f"`part` must be all where a class has one cut-out alone, got {config.part} for {same[0].name}; add cut-outs.")
        test = held_out([cutout.name for cutout in same], config.test_share, config.seed)
        kept += [cutout for cutout, chosen in zip(same, test, strict=True) if chosen == (config.part == "test")]
    return kept


def _places(split: Split, places: Mapping[str, Sequence[str]] | None, config: ComposeConfig) -> tuple[tuple[str, ...], list[list[int]]]:
    named = places or {name: [name] for name in split.class_names}
    unknown = [name for names in named.values() for name in names if name not in split.class_names]
    if unknown:
        raise ValueError(f"`places` must name classes of the backgrounds, got {unknown[0]!r}; choose from {list(split.class_names)[:10]}.")
    if len(named) < 2:
        raise ValueError(f"`backgrounds` must show at least two places, got {list(named)}; name more, since a tie needs a choice.")
    labels, ids = split.labels, split.ids
    rows_of: list[list[int]] = []
    for name, of in named.items():
        rows = np.flatnonzero(np.isin(labels, [split.class_names.index(one) for one in of]))
        if config.part != "all":
            if len(rows) < 2:
                raise ValueError(
                    f"`part` must be all where a place has fewer than two backgrounds, got {config.part} for {name}; add some."
                )
            test = held_out([str(value) for value in ids[rows]], config.test_share, config.seed)
            rows = rows[test == (config.part == "test")]
        if not len(rows):
            raise ValueError(f"`backgrounds` must show every place, got none of {name}; add some or leave the place out.")
        rows_of.append([int(row) for row in rows])
    return tuple(named), rows_of


def _same_settings(out: Path, config: ComposeConfig, cutouts: Sequence[CutOut], backgrounds: Split) -> None:
    """Write what the set is made of, or refuse to go on with other settings or files."""
    about = {
        "config": config.model_dump(mode="json"),
        "objects": [[cutout.name, cutout.label, cutout.path.stat().st_size] for cutout in cutouts],
        "backgrounds": backgrounds.fingerprint,
    }
    path = out / SETTINGS
    if path.is_file() and read_json(path, f"`{path.name}`") != about:
        raise ValueError(f"`out` must be gone on with as it was begun, got other settings or files for {out}; choose a new folder.")
    write_then_rename(path, lambda file: file.write(json.dumps(about, indent=1).encode()))


def _background(backgrounds: Split, row: int) -> np.ndarray:
    """Decode one background at its own size: RGB, uint8, shape (H, W, 3)."""
    rows = backgrounds.select([row]).rows
    (pixels,) = collect(rows, lambda data: np.asarray(decode(data).convert("RGB")))
    if isinstance(pixels, BadImageError):
        refuse(rows, [(0, pixels)], backgrounds.name)
    return pixels  # type: ignore[return-value]


def _write_scene(scene: Scene, image: Path, mask: Path) -> None:
    for path, pixels in ((mask, scene.mask), (image, scene.pixels)):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        content = buffer.getvalue()
        write_then_rename(path, partial(_write_bytes, content))


def _write_bytes(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def _write_manifest(
    pictures: Sequence[Plan],
    cutouts: Sequence[CutOut],
    class_names: Sequence[str],
    place_names: Sequence[str],
    backgrounds: Split,
    out: Path,
    config: ComposeConfig,
) -> Path:
    ids = backgrounds.ids
    first = [cutouts[picture.cutouts[0]] for picture in pictures]
    text = pa.string()
    columns = {
        "file_name": pa.array([f"images/{picture.id}.png" for picture in pictures], text),
        "id": pa.array([picture.id for picture in pictures], text),
        "label": pa.array([picture.label for picture in pictures], pa.int64()),
        "class_name": pa.array([class_names[picture.label] for picture in pictures], text),
        "domain": pa.array([config.domain] * len(pictures), text),
        "caption": pa.array([_words(picture, cutout, class_names, place_names, config) for picture, cutout in zip(pictures, first)], text),
        "generator": pa.array(["synthgap compose"] * len(pictures), text),
        "group": pa.array([f"{class_names[picture.label]} on {place_names[picture.place]}" for picture in pictures], text),
        "place": pa.array([place_names[picture.place] for picture in pictures], text),
        "object": pa.array([cutout.name for cutout in first], text),
        "background": pa.array([str(ids[picture.background]) for picture in pictures], text),
        "mask": pa.array([f"masks/{picture.id}.png" for picture in pictures], text),
    }
    table = pa.table(columns)
    features = datasets.Features.from_arrow_schema(table.schema)
    features["label"] = datasets.ClassLabel(names=list(class_names))
    write_then_rename(out / MANIFEST, lambda file: pq.write_table(table.cast(features.arrow_schema), file))
    return out / MANIFEST


def _words(picture: Plan, cutout: CutOut, class_names: Sequence[str], place_names: Sequence[str], config: ComposeConfig) -> str:
    caption = config.template.replace("{object}", class_names[picture.label]).replace("{place}", place_names[picture.place])
    return f"{caption}. {cutout.caption}" if cutout.caption else caption
