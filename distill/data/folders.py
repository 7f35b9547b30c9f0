"""Image folders `root/<domain>/<class>/*` and `root/<class>/*`, with captions from a metadata table or text files beside the images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from distill.data.columns import DOMAINS, IMAGE_TYPE, Source, check_unique
from distill.data.decode import SUFFIXES
from distill.system.memory_limit import check_fits_memory
from distill.system.untrusted_text import parse_json

MAX_CAPTION = 2**16
"""Bytes of a caption that are read; a text tower takes some hundred."""


def subfolders(folder: Path) -> list[Path]:
    """List the visible folders in `folder`, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))


def image_files(folder: Path) -> list[Path]:
    """List the images anywhere in `folder`, sorted by path; hidden files and other endings are left out."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    for path in (folder, *found):
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"names of images must be in UTF-8, got {str(path).encode('utf-8', 'replace').decode()!r}; rename it."
            ) from error
    return sorted(found)


def is_domain_root(root: Path) -> bool:
    """Tell whether any folder in `root` is called like a domain."""
    return any(path.name.lower() in DOMAINS for path in subfolders(root))


def read_folder(root: Path) -> Source:
    """List an image folder; the images are read when they are needed.

    Args:
        root: folder of domain folders of class folders, or of class folders.

    Returns:
        Rows with `key` (`<class>/<path in it>`), `class_name`, `image` by path, `domain` where folders tell it, `caption` and other
        columns where a metadata table or text files give them.

    Raises:
        FileNotFoundError: for a folder without class folders.
        ValueError: for an empty class folder, images outside class folders, or domains with different classes.
    """
    if not is_domain_root(root):
        return _source(root, [(None, folder) for folder in subfolders(root)])
    folders: dict[str, list[Path]] = {}
    for path in subfolders(root):
        word = DOMAINS.get(path.name.lower())
        if word is None:
            raise ValueError(f"folders in `{root}` must all be domains, real and synthetic, got {path.name!r} too; move it elsewhere.")
        if word in folders:
            raise ValueError(f"`{root}` must have one folder for each domain, got two for {word}; merge them.")
        folders[word] = subfolders(path)
        _check_no_strays(path)
    _check_same_classes(root, {word: {path.name for path in paths} for word, paths in folders.items()})
    return _source(root, [(word, folder) for word, paths in folders.items() for folder in paths])


def _check_same_classes(root: Path, classes: Mapping[str, set[str]]) -> None:
    if len(classes) < 2:
        return
    real, synthetic = classes["real"], classes["synthetic"]
    if real ^ synthetic:
        sides = [f"{name!r} only in {'real' if name in real else 'synthetic'}" for name in sorted(real ^ synthetic)[:5]]
        raise ValueError(f"domains in `{root}` must have the same class folders, got {', '.join(sides)}; add or remove these folders.")


def _check_no_strays(folder: Path) -> None:
    strays = sorted(
        path for path in folder.iterdir() if path.is_file() and path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")
    )
    if strays:
        raise ValueError(f"images must lie in a folder named after their class, got `{strays[0]}` ({len(strays)} such); move them.")


def _source(root: Path, folders: list[tuple[str | None, Path]]) -> Source:
    _check_no_strays(root)
    if not folders:
        raise FileNotFoundError(f"`{root}` must hold class folders, domain folders, parquet files or tar shards, got none; check the path.")
    keys, paths, classes, domains = [], [], [], []
    for domain, folder in folders:
        files = image_files(folder)
        if not files:
            raise ValueError(f"class folder `{folder}` must hold images ({', '.join(SUFFIXES)}), got none; add some or remove the folder.")
        keys += [f"{folder.name}/{path.relative_to(folder).as_posix()}" for path in files]
        paths += files
        classes += [folder.name] * len(files)
        domains += [domain] * len(files)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "key": pa.array(keys, pa.string()),
        "image": by_path(paths),
        "class_name": pa.array(classes),
    }
    if domains[0] is not None:
        columns["domain"] = pa.array(domains)
    columns |= _metadata(root, paths)
    if "caption" not in columns and "text" not in columns:
        texts = [path.with_suffix(".txt") for path in paths]
        captions = [_caption(text) if text.is_file() else None for text in texts]
        columns["caption"] = pa.array(captions, pa.string())
    return Source(pa.table(columns), root.name)


def _caption(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_CAPTION).decode("utf-8", errors="replace").strip()


def by_path(paths: list[Path]) -> pa.Array:
    """Make an `image` column that refers to files: (N,) struct of null bytes and path."""
    return pa.StructArray.from_arrays(
        [pa.nulls(len(paths), pa.binary()), pa.array([str(path.absolute()) for path in paths], pa.string())], fields=list(IMAGE_TYPE)
    )


def _read_lines(path: Path) -> pa.Table:
    """Read one JSON object a line; Arrow's own reader ends the process when brackets are nested a hundred thousand deep."""
    rows = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                row = parse_json(line, f"line {number}")
                if not isinstance(row, dict):
                    raise TypeError(f"line {number} is no object")
                rows.append(row)
    return pa.Table.from_pylist(rows, schema=None if rows else pa.schema([]))


def _metadata(root: Path, paths: list[Path]) -> dict[str, pa.Array | pa.ChunkedArray]:
    """Read `metadata.jsonl` or `metadata.csv` in `root`, the Hugging Face way: `file_name` relative to `root`, other columns by image."""
    table_path = next((root / name for name in ("metadata.jsonl", "metadata.csv") if (root / name).is_file()), None)
    if table_path is None:
        return {}
    try:
        check_fits_memory(table_path.stat().st_size, f"`{table_path}`", "split it")
        table = _read_lines(table_path) if table_path.suffix == ".jsonl" else pa.csv.read_csv(table_path)
    except (pa.ArrowException, ValueError, TypeError, OSError) as error:
        line = (str(error).splitlines() or [""])[0][:300]
        raise ValueError(f"`{table_path}` must be a readable table, got {line!r}; correct or remove it.") from error
    if table.column_names.count("file_name") != 1 or len(set(table.column_names)) < len(table.column_names):
        raise ValueError(
            f"`{table_path}` must have a column `file_name`, and none twice, got {table.column_names}; correct it or remove the file."
        )
    names = [str(name) for name in table.column("file_name").to_pylist()]
    check_unique(names, str(table_path))
    rows = {name: row for row, name in enumerate(names)}
    wanted = [path.relative_to(root).as_posix() for path in paths]
    if absent := sorted(set(names) - set(wanted)):
        raise ValueError(
            f"`file_name` in `{table_path}` must name images in class folders, got {absent[0]!r} ({len(absent)} such); correct it."
        )
    places = pa.array([rows.get(name) for name in wanted], pa.int64())
    taken = [name for name in table.column_names if name not in ("file_name", "key", "image", "class_name", "domain", "label")]
    return {name: table.column(name).take(places) for name in taken}
