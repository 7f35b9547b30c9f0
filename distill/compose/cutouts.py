"""Cut-out objects: pictures with transparency, one class a folder, with their captions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from distill.data.decode import MAX_SIZE

SUFFIXES = (".png", ".webp", ".tif", ".tiff", ".gif")
"""Formats that can hold transparency."""

FORMATS = ("PNG", "WEBP", "TIFF", "GIF")

OPAQUE = 0.5
"""Opacity from which a pixel belongs to the object."""

LEAST_SHARE = 0.02
"""Least share of transparent pixels: what has fewer is a whole picture and no cut-out."""


@dataclass(frozen=True)
class CutOut:
    """One object on transparency.

    Args:
        path: its file.
        name: path relative to the folder of all objects, with `/`.
        label: class, 0..C-1.
        caption: first line of the text file beside it, empty where there is none.
    """

    path: Path
    name: str
    label: int
    caption: str

    def read(self) -> np.ndarray:
        """Read the object, trimmed to what can be seen.

        Returns:
            RGBA, uint8, shape (h, w, 4).

        Raises:
            ValueError: for a file that is no picture, has no transparency, or shows nothing.
        """
        pixels = np.asarray(_open(self.path))
        opaque = pixels[..., 3] >= OPAQUE * 255
        rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
        if not len(rows):
            raise ValueError(f"`objects` must show something, got {self.path}, which is transparent everywhere; remove it.")
        return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path, formats=FORMATS) as image:
            if max(image.size) > MAX_SIZE:
                raise ValueError(f"`objects` must be at most {MAX_SIZE} pixels a side, got {image.size} in {path}; make it smaller.")
            return image.convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:  # Pillow raises SyntaxError for some broken PNG files
        raise ValueError(f"`objects` must be pictures, got {path}, which cannot be read ({error}); remove it.") from error


def find_cutouts(folder: Path, classes: Mapping[str, Sequence[str]] | None = None) -> tuple[list[CutOut], tuple[str, ...]]:
    """Find cut-outs below a folder.

    Args:
        folder: holds one folder a class, or the folders that `classes` names.
        classes: class name -> folders relative to `folder`; by default each folder directly in `folder` is a class.

    Returns:
        The cut-outs ordered by name, and C class names in label order.

    Raises:
        FileNotFoundError: for a folder that is not there.
        ValueError: for fewer than two classes, a class without cut-outs, one file in two classes, or pictures without transparency.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"`objects` must be a folder that exists, got {folder}; check the path.")
    named = classes or {entry.name: [entry.name] for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith(".")}
    if len(named) < 2:
        raise ValueError(f"`objects` must hold at least two classes, got {list(named)} in {folder}; make a folder for each class.")
    cutouts: list[CutOut] = []
    class_of: dict[str, str] = {}
    opaque: list[Path] = []
    for label, (class_name, places) in enumerate(named.items()):
        paths = [path for place in places for path in _pictures(folder, place)]
        for path in dict.fromkeys(paths):
            name = path.relative_to(folder).as_posix()
            if name in class_of:
                raise ValueError(f"`objects` must be of one class each, got {name} in {class_of[name]} and {class_name}; name it once.")
            class_of[name] = class_name
            if _is_cutout(path):
                cutouts.append(CutOut(path, name, label, _caption(path)))
            else:
                opaque.append(path)
    if opaque:
        raise ValueError(
            f"`objects` must be cut-outs with transparency, got {len(opaque)} without, such as {opaque[0]}; cut the objects out or remove these."
        )
    empty = [name for label, name in enumerate(named) if all(cutout.label != label for cutout in cutouts)]
    if empty:
        raise ValueError(f"`objects` must hold cut-outs of every class, got none of {empty[0]}; add {', '.join(SUFFIXES)} files.")
    return sorted(cutouts, key=lambda cutout: cutout.name), tuple(named)


def _pictures(folder: Path, place: str) -> list[Path]:
    below = folder / place
    if not below.is_dir():
        raise FileNotFoundError(f"`objects` must hold the folder {place!r}, got none in {folder}; check its name.")
    return sorted(
        path
        for path in below.rglob("*")
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _is_cutout(path: Path) -> bool:
    alpha = np.asarray(_open(path))[..., 3]
    return bool((alpha < OPAQUE * 255).mean() >= LEAST_SHARE)


def _caption(path: Path) -> str:
    text = path.with_suffix(".txt")
    if not text.is_file():
        return ""
    with text.open(encoding="utf-8", errors="replace") as file:
        return file.readline(1000).strip()


def held_out(names: Sequence[str], share: float, seed: int) -> np.ndarray:
    """Choose names for a test set by a hash of each name, so that their order does not matter.

    Args:
        names: N distinct names.
        share: of the names, 0 to 1; at least one name is chosen and one is left where N >= 2 and 0 < share < 1.
        seed: another seed, another choice.

    Returns:
        (N,) bool, true for the test set.
    """
    order = sorted(range(len(names)), key=lambda place: hashlib.sha256(f"{seed}/{names[place]}".encode()).digest())
    count = round(share * len(names))
    if 0 < share < 1 and len(names) >= 2:
        count = min(max(count, 1), len(names) - 1)
    chosen = np.zeros(len(names), dtype=bool)
    chosen[order[:count]] = True
    return chosen
