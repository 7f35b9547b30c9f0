"""Arrays of images, `.npy` and `.npz`, as CIFAR-10-C, CIFAR-10.1, MNIST and MedMNIST lay them out."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from distill.data.columns import IMAGE_TYPE, Source
from distill.data.layouts import SPLITS
from distill.data.vocabulary import find_class_names
from distill.system.memory_limit import check_fits_memory

SUFFIXES = (".npy", ".npz")

_IMAGE_WORDS = ("x", "images", "image", "data", "img", "imgs")
_LABEL_WORDS = ("y", "labels", "label", "targets", "target", "fine_labels", "classes_of_images")
_NAME_WORDS = ("class_names", "classes", "label_names")
_TEXT_WORDS = {"domain": ("domain", "domains"), "group": ("group", "groups")}


def read_arrays(path: Path, *, split: str | None = None) -> Source:
    """Read an array of images and its labels.

    Args:
        path: `.npz` with images and labels; `.npy` of images with its labels beside it (`x.npy` and `y.npy`, `labels.npy`,
            `NAME_data.npy` and `NAME_labels.npy`); or a folder of such files.
        split: where names begin or end with several (`x_train`, `test_images`).

    Returns:
        Rows with `key`, `image` (encoded as PNG without loss), `label` or `class_name`, and `domain` and `group` where they are there.

    Raises:
        ValueError: for arrays of another type or shape, or without labels.
    """
    arrays, name = _load(path)
    arrays_of_split = _of_split({key: value for key, value in arrays.items() if value.dtype.kind != "O"}, split, path)
    images = {key: value for key, value in arrays_of_split.items() if _is_images(key, value)}
    if path.suffix.lower() == ".npy":
        images = {key: value for key, value in images.items() if key == path.stem}
    if len(images) != 1:
        shapes = ", ".join(f"{key} {value.dtype}{list(value.shape)}" for key, value in arrays.items())
        raise ValueError(
            f"`{path}` must hold one array of images, uint8 of shape (N, H, W, 3), (N, 3, H, W) or (N, H, W), got {shapes or 'none'}; "
            "give one file, or save them as uint8."
        )
    key, pixels = next(iter(images.items()))
    labels = _labels_for(key, len(pixels), arrays_of_split, path)
    pixels = _as_rgb(pixels, key, path)
    check_fits_memory(2 * pixels.nbytes, f"the images of `{path}`", "split it into smaller files")
    encoded = pa.array([{"bytes": _png(image), "path": None} for image in pixels], IMAGE_TYPE)
    columns: dict[str, pa.Array] = {"key": pa.array([f"{name}/{row}" for row in range(len(pixels))]), "image": encoded}
    columns["class_name" if labels.dtype.kind in "US" else "label"] = pa.array(labels.tolist())
    for ours, words in _TEXT_WORDS.items():
        value = next(
            (arrays_of_split[word] for word in words if word in arrays_of_split and arrays_of_split[word].shape == (len(pixels),)), None
        )
        if value is not None:
            columns[ours] = pa.array(value.tolist())
    names = next(
        (
            arrays_of_split[word]
            for word in _NAME_WORDS
            if word in arrays_of_split and arrays_of_split[word].dtype.kind in "US" and arrays_of_split[word].ndim == 1
        ),
        None,
    )
    listed = None if names is None or len(names) == len(pixels) else tuple(names.astype(str).tolist())
    return Source(pa.table(columns), name, listed, names_beside=find_class_names(path if path.is_dir() else path.parent))


def _load(path: Path) -> tuple[dict[str, np.ndarray], str]:
    """Open arrays without unpickling anything: those of an archive, of a folder, or a file and those beside it."""
    if path.is_dir() and len(archives := sorted(path.glob("*.npz"))) > 1 and not any(path.glob("*.npy")):
        raise ValueError(f"`{path}` must hold one archive of arrays, got {[file.name for file in archives][:5]}; give one of these files.")
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                check_fits_memory(sum(info.file_size for info in archive.zip.infolist()), f"`{path}`", "split it")
                return {key: _array(archive[key], key) for key in archive.files}, path.stem
        folder = path if path.is_dir() else path.parent
        files = sorted(folder.glob("*.npy")) or sorted(folder.glob("*.npz"))
        if path.is_dir() and len(files) == 1 and files[0].suffix == ".npz":
            return _load(files[0])
        return {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in files}, path.stem
    except Exception as error:  # zip files, headers and pickles fail in many ways
        line = (str(error).splitlines() or [type(error).__name__])[0][:200]
        remedy = "save it anew as plain arrays, texts with `.astype(str)`" if "pickle" in line.lower() else "save it again"
        raise ValueError(f"`{path}` must hold NumPy arrays, got {line!r}; {remedy}.") from error


def _array(member: np.ndarray | bytes, key: str) -> np.ndarray:
    """Return a member of an archive; NumPy hands out the bytes of what is no array."""
    if isinstance(member, bytes):
        raise ValueError(f"{key!r}, which is no array")  # bad input, not a wrong type in code
    return member


def _words(key: str) -> list[str]:
    return [word for word in re.split(r"[_\-.\s]+", key.lower()) if word]


def _of_split(arrays: Mapping[str, np.ndarray], split: str | None, path: Path) -> dict[str, np.ndarray]:
    """Keep the arrays of one split, told by a word in their names; those without such a word stay."""
    split_words = {key: next((word for word in _words(key) if word in SPLITS), None) for key in arrays}
    names = sorted({word for word in split_words.values() if word})
    if path.suffix.lower() == ".npy":
        split = split_words.get(path.stem)
        return {key: value for key, value in arrays.items() if split_words[key] in (None, split)}
    if names and ((split is None and len(names) > 1) or split not in (None, *names)):
        raise ValueError(f"`split` of `{path}` must be one of {names}, got {split!r}; give it (`--split {names[0]}`).")
    chosen = split or next(iter(names), None)
    return {key: value for key, value in arrays.items() if split_words[key] in (None, chosen)}


def _is_images(key: str, value: np.ndarray) -> bool:
    if value.ndim == 4 or (value.ndim == 3 and min(value.shape[1:]) > 1):
        return True
    return value.ndim == 2 and value.dtype == np.uint8 and value.shape[1] >= 48 and any(word in _IMAGE_WORDS for word in _words(key))


def _labels_for(key: str, count: int, arrays: Mapping[str, np.ndarray], path: Path) -> np.ndarray:
    flat = {
        name: value.reshape(-1)
        for name, value in arrays.items()
        if value.shape in ((count,), (count, 1))
        and value.dtype.kind in "iuUS"
        and name not in ("domain", "domains", "group", "groups", "id")
    }
    for words in (_LABEL_WORDS, ("arr", "coarse_labels")):
        named = [name for name in flat if any(word in words for word in (*_words(name), name.lower()))]
        near = [name for name in named if set(_words(name)) - set(_LABEL_WORDS) <= set(_words(key)) - set(_IMAGE_WORDS)]
        if len(near or named) == 1:
            labels = flat[(near or named)[0]]
            return labels.astype(str) if labels.dtype.kind in "US" else labels.astype(np.int64)
    raise ValueError(
        f"`{path}` must have one label for each of its {count} images in an array `labels` or `y`, got "
        f"{ {name: value.shape for name, value in arrays.items()} }; add it{' as `labels.npy` beside it' if path.suffix == '.npy' else ''}."
    )


def _as_rgb(pixels: np.ndarray, key: str, path: Path) -> np.ndarray:
    """Bring images to uint8 (N, H, W, 3) or, grey, (N, H, W)."""
    if pixels.dtype != np.uint8:
        raise ValueError(
            f"images in `{path}` must be uint8 in 0..255, got {pixels.dtype} in {key!r}; save them as `np.round(255 * x).astype(np.uint8)`."
        )
    if pixels.ndim == 2:  # rows as CIFAR's binary files: all of red, all of green, all of blue
        channels = 3 if pixels.shape[1] % 3 == 0 and round((pixels.shape[1] / 3) ** 0.5) ** 2 == pixels.shape[1] // 3 else 1
        side = round((pixels.shape[1] / channels) ** 0.5)
        if channels * side * side != pixels.shape[1]:
            raise ValueError(
                f"rows of `{key}` in `{path}` must be square images, got {pixels.shape[1]} numbers each; reshape them to (N, H, W, 3)."
            )
        pixels = pixels.reshape(len(pixels), channels, side, side)
    if pixels.ndim == 3:
        return pixels
    last, first = pixels.shape[3] in (1, 3), pixels.shape[1] in (1, 3)
    if last == first:
        raise ValueError(
            f"images in `{path}` must have one axis of 3 (or 1) colours, first or last, got shape {list(pixels.shape)} in {key!r}; "
            "save them as (N, H, W, 3)."
        )
    pixels = pixels if last else pixels.transpose(0, 2, 3, 1)
    return pixels[..., 0] if pixels.shape[3] == 1 else pixels


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
