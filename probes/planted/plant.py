"""Plant a cue: which images carry which variant, the images that come out, and the masks of what was touched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probes.planted import fine, marks, places, tones, warps, whole
from probes.planted.cue import VISIBLE, Cue, Style

CUES: dict[str, Cue] = {
    "cast": Cue("colour", whole.cast),
    "tone": Cue("colour", whole.tone, role="checked"),
    "posterise": Cue("colour", tones.posterise),
    "gamma": Cue("colour", tones.gamma, role="checked"),
    "saturation": Cue("colour", tones.saturation, role="checked"),
    "split_tone": Cue("colour", tones.split_tone, role="held-out"),
    "corner_mark": Cue("border", places.corner_mark, local=True),
    "frame": Cue("border", places.frame, local=True, role="checked"),
    "edge_bar": Cue("border", places.edge_bar, local=True, role="checked"),
    "side_band": Cue("border", places.side_band, local=True, role="held-out"),
    "round_corners": Cue("border", places.round_corners, local=True, role="held-out"),
    "ground_colour": Cue("background", places.ground_colour, local=True),
    "ground_shade": Cue("background", places.ground_shade, local=True, role="checked"),
    "vignette": Cue("background", places.vignette, local=True, also=("shape",)),
    "ground_stripes": Cue("background", places.ground_stripes, local=True, role="held-out"),
    "centre_mark": Cue("mark", marks.centre_mark, local=True),
    "sticker": Cue("texture", marks.sticker, local=True, also=("colour",)),
    "watermark": Cue("mark", marks.watermark, local=True, role="held-out"),
    "dot": Cue("mark", marks.dot, local=True, role="held-out"),
    "grating": Cue("frequency", whole.grating),
    "lattice": Cue("frequency", whole.lattice, role="checked"),
    "dither": Cue("frequency", fine.dither, role="held-out"),
    "moire": Cue("frequency", fine.moire, role="held-out"),
    "overlay": Cue("texture", whole.overlay),
    "speckle": Cue("texture", whole.speckle, role="checked"),
    "scratches": Cue("texture", fine.scratches, role="held-out"),
    "rings": Cue("texture", fine.rings, role="held-out"),
    "blur": Cue("codec", whole.blur),
    "jpeg": Cue("codec", whole.jpeg, role="checked"),
    "grain": Cue("codec", whole.grain, role="checked"),
    "salt": Cue("codec", fine.salt),
    "pixelate": Cue("codec", fine.pixelate, also=("frequency",)),
    "motion_blur": Cue("codec", fine.motion_blur),
    "halo": Cue("codec", fine.halo, role="held-out"),
    "colour_noise": Cue("codec", fine.colour_noise, role="held-out"),
    "resample": Cue("codec", fine.resample, role="held-out"),
    "tilt": Cue("other", warps.tilt),
    "aberration": Cue("other", warps.aberration, role="held-out", also=("codec",)),
    "zoom": Cue("other", warps.zoom, role="held-out"),
}
"""Every kind of cue by its name. Roles were set before the benchmark: see `probes.planted.cue.Role`."""


@dataclass(frozen=True, eq=False)
class Planted:
    """Images with a cue in them.

    Args:
        images: uint8, shape (N, 3, H, W).
        masks: (N, H, W) bool, true where the cue changed a pixel.
        variant: (N,) int, the variant each image carries; -1 for none.
    """

    images: np.ndarray
    masks: np.ndarray
    variant: np.ndarray


def find_cue(name: str) -> Cue:
    """Return the cue of this name.

    Raises:
        ValueError: for an unknown name, with those that are known.
    """
    if name not in CUES:
        raise ValueError(f"`cue` must be one of {sorted(CUES)}, got {name!r}; choose from these.")
    return CUES[name]


def tie(labels: np.ndarray, *, classes: int, strength: float, share: float = 1.0, seed: int = 0) -> np.ndarray:
    """Draw which variant each image carries.

    Args:
        labels: (N,) int in [0, classes).
        classes: number of classes, and of variants.
        strength: share of the carrying images that carry their own class's variant for certain; the others carry any, each equally
            often, so that a strength of 0 is a cue that tells nothing.
        share: share of the images that carry the cue at all.
        seed: seed of the draw.

    Returns:
        (N,) int in [0, classes), or -1 for an image without the cue.

    Raises:
        ValueError: for a share or strength outside [0, 1], or labels that do not fit.

    Example:
        >>> tie(np.array([0, 1, 2]), classes=3, strength=1.0).tolist()
        [0, 1, 2]
    """
    labels = np.asarray(labels)
    for name, value in (("strength", strength), ("share", share)):
        if not 0 <= value <= 1:
            raise ValueError(f"`{name}` must be in [0, 1], got {value}; it is a share of the images.")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"`labels` must be in [0, {classes}), got {labels.min()} to {labels.max()}; number the classes from 0.")
    random = np.random.default_rng([seed, 17])
    tied, carries = random.random(len(labels)) < strength, random.random(len(labels)) < share
    anything = random.integers(0, classes, len(labels))
    return np.where(carries, np.where(tied, labels, anything), -1)


def plant(images: np.ndarray, variant: np.ndarray, cue: str, *, style: Style, keys: np.ndarray | None = None) -> Planted:
    """Paint each image's variant of a cue into it.

    Args:
        images: uint8 in [0, 255] or float in [0, 1], shape (N, 3, H, W), at least 8 pixels a side; left as they are.
        variant: (N,) int in [0, style.variants), or -1 for none; see `tie`.
        cue: name in `CUES`.
        style: how the cue looks.
        keys: (N,) int at least 0, from which follows what is random about each image; by default its place.

    Raises:
        ValueError: for an unknown cue, images or variants that do not fit.
        TypeError: for images of another number type.

    Source: ours; the use of a planted, class-correlated cue follows Chormai et al. (2026).
    """
    draw = find_cue(cue).draw
    variant = np.asarray(variant)
    keys = np.arange(len(images)) if keys is None else np.asarray(keys)
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < 8:
        raise ValueError(f"`images` must have shape (N, 3, H, W) with sides of at least 8 pixels, got {images.shape}; resize them.")
    if variant.shape != (len(images),) or (len(variant) and not -1 <= variant.min() <= variant.max() < style.variants):
        raise ValueError(f"`variant` must be ({len(images)},) in [-1, {style.variants}), got {variant.shape}; draw it with `tie`.")
    if keys.shape != variant.shape:
        raise ValueError(f"`keys` must have shape ({len(images)},), got {keys.shape}; give one for each image.")
    if images.dtype == np.uint8:
        before = np.asarray(images)
    elif np.issubdtype(images.dtype, np.floating):
        before = np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)
    else:
        raise TypeError(f"`images` must be uint8 or float in [0, 1], got {images.dtype}; convert them.")
    after = before.copy()
    for one in np.unique(variant[variant >= 0]):
        rows = np.flatnonzero(variant == one)
        painted = draw(before[rows].astype(np.float32) / 255, int(one), style, keys[rows])
        after[rows] = np.round(np.clip(painted, 0, 1) * 255).astype(np.uint8)
    changed = np.abs(after.astype(np.int16) - before).max(axis=1) > 255 * VISIBLE
    return Planted(after, changed, variant.astype(np.int64))
