"""CIFAKE, the flagship data: CIFAR-10 photographs and Stable Diffusion images of the same ten classes, 32 x 32 pixels.

Real: CIFAR-10 (Krizhevsky, 2009). Synthetic: Stable Diffusion 1.4 from class prompts (Bird and Lotfi, 2024). Nothing of it is in this
repository.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa

from distill.data.columns import Source
from distill.data.folders import by_path
from distill.data.layouts import image_folders

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The classes in CIFAR-10 order; the files count them from 1."""

SIZE = 32
"""Pixels a side."""

LICENCE = "MIT, as stated by the authors of CIFAKE"

CITATION = (
    "Krizhevsky (2009), Learning multiple layers of features from tiny images; "
    "Bird and Lotfi (2024), CIFAKE: image classification and explainable identification of AI-generated synthetic images, IEEE Access 12."
)

HOW_TO_GET = (
    "download it from Kaggle, `kaggle datasets download birdy654/cifake-real-and-ai-generated-synthetic-images`, or clone "
    "github.com/jordan-bird/CIFAKE-Real-and-AI-Generated-Synthetic-Images (images in DATASET/{train,test}/{REAL,FAKE})"
)

_FOLDERS = {"real": "REAL", "synthetic": "FAKE"}
_FILE = re.compile(r"\d+(?: \((\d+)\))?\.jpg")


def find(folder: Path | str) -> dict[str, str]:
    """Find the parts of CIFAKE in a folder, in either layout.

    Args:
        folder: holds `train-real.parquet` and so on, or is (or holds) `DATASET/{train,test}/{REAL,FAKE}`.

    Returns:
        `train-real`, `train-synthetic`, `test-real`, `test-synthetic` -> what `load_split` takes (with `domain` told by the source); parts
        that are not there are absent.

    Raises:
        FileNotFoundError: when none is there, saying how to get the data.
    """
    folder = Path(folder).expanduser()
    parts = {}
    for split in ("train", "test"):
        for domain, word in _FOLDERS.items():
            places = [folder / f"{split}-{domain}.parquet", folder / split / word, folder / "DATASET" / split / word]
            place = next((place for place in places if place.exists()), None)
            if place is not None:
                parts[f"{split}-{domain}"] = str(place)
    if not parts:
        raise FileNotFoundError(f"`folder` must hold CIFAKE, got {folder} without train-real.parquet or train/REAL; {HOW_TO_GET}.")
    return parts


def leaves(folder: Path, split: str | None = None) -> list[Path]:
    """Find the folders REAL and FAKE that hold files of the CIFAKE layout at `folder` or below; empty when it is another layout.

    Args:
        folder: `DATASET`, the folder that holds it, `DATASET/train`, or `DATASET/train/REAL`.
        split: `train` or `test`, where `folder` holds both.

    Raises:
        ValueError: when both splits are there and none is named.
    """
    if _is_leaf(folder):
        return [folder]
    if folders := _leaves_in(folder):
        return folders
    root = folder / "DATASET" if (folder / "DATASET").is_dir() else folder
    splits = {name: _leaves_in(root / name) for name in ("train", "test")}
    splits = {name: folders for name, folders in splits.items() if folders}
    if not splits:
        return []
    if split is None and len(splits) == 1:
        return next(iter(splits.values()))
    if split not in splits:
        raise ValueError(
            f"`split` of the CIFAKE folder `{folder}` must be one of {list(splits)}, got {split!r}; give it or the folder itself."
        )
    return splits[split]


def _leaves_in(folder: Path) -> list[Path]:
    """List REAL and FAKE in a folder where one of them is of the CIFAKE layout: then both must be."""
    folders = [folder / word for word in _FOLDERS.values() if (folder / word).is_dir()]
    return folders if any(_is_leaf(leaf) for leaf in folders) else []


def _is_leaf(folder: Path) -> bool:
    """Tell by a file with a class number: files that are only numbered say no class, and are of another layout."""
    if folder.name not in _FOLDERS.values() or not folder.is_dir():
        return False
    matches = (_FILE.fullmatch(path.name) for path in folder.iterdir() if path.is_file())
    return any(match is not None and match.group(1) is not None for match in matches)


def read_leaves(folders: list[Path], name: str) -> Source:
    """List folders of `<index> (<class number>).jpg` files; no number means class 1.

    Args:
        folders: from `leaves`.
        name: what errors call the data.

    Returns:
        Rows with `key` (`<split>/<index> (<class number>)`), `label`, `domain` and `image` by path.

    Raises:
        ValueError: for an image whose name does not fit, one that lies deeper, or a class number beyond ten.
    """
    words = {word: domain for domain, word in _FOLDERS.items()}
    keys, labels, domains, paths = [], [], [], []
    for folder in folders:
        for path in sorted(file for inner in image_folders(folder)[0] for file in inner.files):
            match = _FILE.fullmatch(path.name) if path.parent == folder else None
            number = int(match.group(1) or 1) if match else 0
            if not 1 <= number <= len(CLASS_NAMES):
                raise ValueError(f"CIFAKE files must be called `<index> (<class 2..10>).jpg`, got `{path}`; remove or rename it.")
            keys.append(f"{folder.resolve().parent.name}/{path.stem}")
            labels.append(number - 1)
            domains.append(words[folder.name])
            paths.append(path)
    table = pa.table({"key": keys, "image": by_path(paths), "label": pa.array(labels, pa.int64()), "domain": domains})
    return Source(table, name, CLASS_NAMES)
