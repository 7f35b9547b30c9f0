"""The images and the teacher that planted draws are made of: real images only, so that a planted cue is all that tells the domains apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from probes.planted.cue import Style
from probes.planted.plant import plant, tie

if TYPE_CHECKING:
    from distill.data.split import Split
    from distill.models.teacher import Teacher

POCKET = "pocket"


@dataclass(frozen=True, eq=False)
class World:
    """Real images to plant cues in, and the teacher.

    Args:
        name: what reports call the images.
        train: pixels (N, 3, H, W) uint8 and labels (N,) for the students.
        test: pixels and labels for the toolkit; no image of `train`.
        class_names: C names.
        teacher: the frozen teacher.
        templates: prompts with `{}` for the class name.
    """

    name: str
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    class_names: tuple[str, ...]
    teacher: Teacher
    templates: tuple[str, ...] = ("a photo of a {}.",)


@dataclass(frozen=True, eq=False)
class Part:
    """Some images with what was planted in them.

    Args:
        images: uint8, shape (n, 3, H, W).
        clean: the same images before anything was planted.
        labels: (n,) int in [0, C').
        masks: (n, H, W) bool.
        rows: (n,) their places in the world's images.
    """

    images: np.ndarray
    clean: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Sizes:
    """How many images a draw takes: to train on, of each domain for the toolkit, and how many of the world's classes."""

    train: int = 2400
    test: int = 250
    classes: int = 5


@dataclass(frozen=True, eq=False)
class Scene:
    """What one draw shows: training images, the two held-out domains, and a large further sample for the truth.

    Args:
        class_names: the classes drawn.
        train: "synthetic" images to train on.
        real: held-out images as they are.
        synthetic: held-out images planted like those of training.
        more: all further held-out images, planted; their `clean` side is the sample of the real domain.
    """

    class_names: tuple[str, ...]
    train: Part
    real: Part
    synthetic: Part
    more: Part


def open_world(data: str, *, test: str | None, teacher: str | None, out: Path, image_size: int | None = None, epochs: int = 6) -> World:
    """Read images and get a teacher.

    Args:
        data: `pocket` for the embedded images, a folder that holds CIFAKE, or any real images that `load_split` reads.
        test: held-out images, or None: of a single set, every third image is held out.
        teacher: `pocket`, or a form of `load_teacher`; None for the pocket's own, else one is taught on the clean training images.
        out: folder in which a taught teacher is kept.
        image_size: side in pixels, where images differ in size.
        epochs: passes of the taught teacher.

    Raises:
        FileNotFoundError, ValueError: for images or a teacher that cannot be used.
    """
    from distill.models.teacher import load_teacher
    from distill.training.experiment import common_size

    train_split, test_split, name = _splits(data, test)
    size = image_size or common_size(train_split, test_split, what="--image-size")
    templates: tuple[str, ...] = ("a photo of a {}.", "{}")
    if data == POCKET:
        from distill.packs import pocket

        templates = ("a photo of a {}", "a {}", "a {} on a photo", "the digit {}")
        teacher = str(pocket.teacher_folder()) if teacher in (None, POCKET) else teacher
    if teacher is None:
        teacher = str(_taught(train_split, out, size=size, epochs=epochs))
    loaded = load_teacher(teacher, image_size=size)
    pixels = [(split.pixels(size), split.labels) for split in (train_split, test_split)]
    return World(name, pixels[0], pixels[1], train_split.class_names, loaded, templates)


def _splits(data: str, test: str | None) -> tuple[Split, Split, str]:
    from distill.data.split import load_split, require_same_classes
    from distill.generate.sources import open_images

    if data == POCKET:
        from distill.packs.pocket import pocket_split

        return pocket_split("train-real"), pocket_split("test-real"), "the pocket's real images"
    parts = _cifake(data) if test is None else None
    if parts is not None:
        first, second = (load_split(parts[f"{part}-real"], domain="real") for part in ("train", "test"))
        return first, second, "CIFAKE's real images"
    whole = open_images(data, domain="real")
    if test is not None:
        held_out_split = open_images(test, domain="real", class_names=whole.class_names)
        require_same_classes(whole, held_out_split)
        return whole, held_out_split, whole.name
    held_out = np.arange(len(whole)) % 3 == 2
    return whole.select(~held_out), whole.select(held_out), whole.name


def _cifake(data: str) -> dict[str, str] | None:
    from distill.data.cifake import find

    try:
        parts = find(data) if Path(data).is_dir() else {}
    except FileNotFoundError:
        return None
    return parts if {"train-real", "test-real"} <= set(parts) else None


def _taught(train: Split, out: Path, *, size: int, epochs: int) -> Path:
    """Teach a small CLIP on clean real images, once for a folder."""
    from distill.data.mixtures import limited
    from distill.training.teach import TeachConfig, teach

    folder = out / "teacher"
    if not (folder / "open_clip_config.json").is_file():
        base = TeachConfig(image_tower="test_resnet", image_size=max(48, size), first_image_size=size)
        config = base.model_copy(update={"training": base.training.model_copy(update={"epochs": epochs})})
        teach(limited(train, 20_000), folder, config=config, resume=True)
    return folder


def stage(
    world: World,
    *,
    cue: str | None,
    strength: float,
    share: float = 1.0,
    amplitude: float = 1.0,
    seed: int = 0,
    sizes: Sizes | None = None,
    imbalance: float = 1.0,
) -> Scene:
    """Choose the images of one draw and plant its cue.

    Args:
        world: images and teacher.
        cue: name in `probes.planted.plant.CUES`, or None for none.
        strength: how firmly the cue is tied to the class, see `tie`.
        share: share of the images that carry it.
        amplitude: how plain it is.
        seed: seed of classes, images, look and tie; draws of one seed differ in the cue alone.
        sizes: how many images.
        imbalance: images of the most frequent class for each of the rarest, in training and in the held-out synthetic domain.
    """
    sizes = sizes or Sizes()
    rng = np.random.default_rng([seed, 5])
    count = min(sizes.classes, len(world.class_names))
    classes = rng.permutation(len(world.class_names))[:count]
    number = np.full(len(world.class_names), -1)
    number[classes] = np.arange(count)
    labels = [number[part] for part in (world.train[1], world.test[1])]
    train, held_out = (rng.permutation(np.flatnonzero(part >= 0)) for part in labels)
    even, uneven = np.ones(count), imbalance ** (-np.arange(count) / (count - 1))
    chosen = _spread(train, labels[0], sizes.train, uneven)
    real = _spread(held_out, labels[1], sizes.test, even)
    held_out = rng.permutation(np.setdiff1d(held_out, real, assume_unique=True))
    synthetic = _spread(held_out, labels[1], sizes.test, uneven)
    more = np.setdiff1d(held_out, synthetic, assume_unique=True)
    style = Style(count, amplitude, seed)

    def part(images: tuple[np.ndarray, np.ndarray], rows: np.ndarray, planted: bool, salt: int) -> Part:
        clean, labels = np.ascontiguousarray(images[0][rows]), number[images[1][rows]]
        if not planted or cue is None:
            return Part(clean, clean, labels, np.zeros((len(rows), *clean.shape[2:]), dtype=bool), rows)
        variant = tie(labels, classes=count, strength=strength, share=share, seed=seed * 10 + salt)
        result = plant(clean, variant, cue, style=style)
        return Part(result.images, clean, labels, result.masks, rows)

    names = tuple(world.class_names[one] for one in classes)
    return Scene(
        names,
        part(world.train, chosen, True, 0),
        part(world.test, real, False, 1),
        part(world.test, synthetic, True, 2),
        part(world.test, more, True, 3),
    )


def _spread(rows: np.ndarray, labels: np.ndarray, total: int, weights: np.ndarray) -> np.ndarray:
    """Take about `total` of the rows, as many of each class as the weights say and as there are."""
    labels = labels[rows]
    wanted = np.maximum(np.floor(total * weights / weights.sum()).astype(int), 2)  # the probes need two images of each class
    return np.concatenate([rows[labels == one][: wanted[one]] for one in range(len(weights))])
