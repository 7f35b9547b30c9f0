"""A source as people name it to a `Source`: looks at what is there and hands over to the reader of that format."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from distill.columns import IMAGE_TYPE, Source

SPLITS = ("train", "training", "validation", "valid", "val", "dev", "test", "testing")
"""Words that name a split when a file name begins with them or a folder is called so."""


def read(spec: str, *, split: str | None = None) -> Source:
    """Read a source; see `load_split`.

    Raises:
        FileNotFoundError: when nothing is there.
        ValueError: when it is not a known format.
    """
    path = Path(spec).expanduser()
    if any(sign in spec for sign in "*?[") and not path.exists():
        paths = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        if not paths:
            raise FileNotFoundError(
                f"`{spec}` must match files, got none; check the pattern (quote it, so that the shell leaves it alone)."
            )
        return read_parquet(paths, name=path.parent.name or spec)
    if not path.exists():
        raise FileNotFoundError(f"`{spec}` must be a file, folder, pattern or hf:NAME, got nothing there; check the path.")
    if path.is_file():
        return read_parquet([path], name=path.stem)
    found = sorted(path.glob("*.parquet"))
    return read_parquet(_of_split(found, split, spec), name=path.name)


def _of_split(paths: Sequence[Path], split: str | None, spec: str) -> list[Path]:
    """Keep the files of one split, told by the word their names begin with."""
    words = {path: next((word for word in SPLITS if path.name.lower().startswith(word)), None) for path in paths}
    if split is None:
        kinds = sorted({word for word in words.values() if word})
        if len(kinds) > 1:
            raise ValueError(f"`{spec}` holds several splits, {kinds}, and one must be chosen; give `split` or the files themselves.")
        return list(paths)
    chosen = [path for path in paths if path.name.lower().startswith(split.lower())]
    if not chosen:
        raise FileNotFoundError(
            f"`{spec}` must hold files of split {split!r}, got {[path.name for path in paths][:5]}; choose another split."
        )
    return chosen


def read_parquet(paths: Sequence[Path], *, name: str) -> Source:
    """Read parquet files in the Hugging Face image layout into memory, images still encoded.

    Args:
        paths: files with equal columns.
        name: what errors call the data.

    Raises:
        ValueError: for a file that is no parquet file, or columns without images.
    """
    tables = []
    class_names: tuple[str, ...] | None = None
    for path in paths:
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(
                f"`{path}` must be a whole parquet file, got {str(error).splitlines()[0]!r}; write or download it again."
            ) from error
        class_names = class_names or _class_label_names(table.schema)
        tables.append(_with_keys(_with_images(table, path), path))
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(
            f"parquet files of `{name}` must have equal columns, got {str(error).splitlines()[0]!r}; load them one by one."
        ) from error
    if not table.num_rows:
        raise ValueError(f"`{name}` must hold at least one row, got none; check the file.")
    return Source(table, name, class_names)


def _class_label_names(schema: pa.Schema) -> tuple[str, ...] | None:
    feature = datasets.Features.from_arrow_schema(schema).get("label")
    return tuple(feature.names) if isinstance(feature, datasets.ClassLabel) and feature.names else None


def _with_images(table: pa.Table, path: Path) -> pa.Table:
    """Bring the image column to a struct of bytes and path; drop columns that are neither images, text nor integers."""
    name = next((column for column in ("image", "img") if column in table.column_names), None)
    if name is None:
        structs = [field.name for field in table.schema if pa.types.is_struct(field.type) or pa.types.is_binary(field.type)]
        if len(structs) != 1:
            raise ValueError(f"`{path}` must have a column `image`, got {table.column_names}; rename the one with the images.")
        name = structs[0]
    column = table.column(name)
    chunks = [_as_struct(chunk, path) for chunk in column.chunks]
    table = table.set_column(table.column_names.index(name), name, pa.chunked_array(chunks, IMAGE_TYPE))
    return table.rename_columns(["image" if column == name else column for column in table.column_names])


def _as_struct(chunk: pa.Array, path: Path) -> pa.StructArray:
    count = len(chunk)
    if pa.types.is_binary(chunk.type) or pa.types.is_large_binary(chunk.type):
        return pa.StructArray.from_arrays([chunk.cast(pa.binary()), pa.nulls(count, pa.string())], fields=list(IMAGE_TYPE))
    names = [field.name for field in chunk.type] if pa.types.is_struct(chunk.type) else []
    if "bytes" not in names and "path" not in names:
        raise ValueError(
            f"column `image` of `{path}` must hold encoded files (bytes, or a struct of bytes and path), got {chunk.type}; encode them as PNG."
        )
    data = chunk.field("bytes").cast(pa.binary()) if "bytes" in names else pa.nulls(count, pa.binary())
    paths = chunk.field("path").cast(pa.string()) if "path" in names else pa.nulls(count, pa.string())
    if data.null_count:  # path only: relative to the parquet file's folder
        paths = pa.array([value and str(path.parent / value) for value in paths.to_pylist()], pa.string())
    return pa.StructArray.from_arrays([data, paths], fields=list(IMAGE_TYPE))


def _with_keys(table: pa.Table, path: Path) -> pa.Table:
    if "id" in table.column_names or "key" in table.column_names:
        return table
    return table.append_column("key", pa.array([f"{path.stem}/{row}" for row in range(table.num_rows)], pa.string()))
