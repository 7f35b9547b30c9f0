"""A source as people name it to a `Source`: looks at what is there and hands over to the reader of that format."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from distill.data.cifake import leaves, read_leaves
from distill.data.columns import IMAGE_TYPE, Source
from distill.data.folders import read_folder, subfolders
from distill.data.hub import read_hub
from distill.data.shards import expand_braces, read_shards
from distill.system.memory_limit import check_fits_memory, memory_budget

SPLITS = ("train", "training", "validation", "valid", "val", "dev", "test", "testing")
"""Words that name a split when a file name begins with them or a folder is called so."""

ROW_BYTES = 500
"""What a row takes beside its image, roughly: id, key, class and domain are Python objects for a while."""

_SPLIT_WORD = re.compile(rf"({'|'.join(SPLITS)})(?![a-z])")


def read(spec: str, *, split: str | None = None, image: str | None = None, lazy: bool = False) -> Source:
    """Read a source; see `load_split`.

    Args:
        spec: file, folder, pattern or hub name.
        split: where the source holds several.
        image: name of the image column of a table, where it is not `image`.
        lazy: leave the images of shards in them; see `read_shards`.

    Raises:
        FileNotFoundError: when nothing is there.
        ValueError: when it is not a known format.
    """
    if spec.startswith("hf:"):
        source = read_hub(spec, split=split)
        return replace(source, table=_with_keys(_with_images(source.table, Path(spec), image), source.name.rpartition("@")[2]))
    path = Path(spec).expanduser()
    if path.is_dir():
        return _read_directory(path, split, image, lazy=lazy)
    paths = [path]
    if not path.exists() and any(sign in spec for sign in "*?[{"):
        paths = [Path(name) for pattern in expand_braces(str(path)) for name in (_matches(pattern))]
        if not any(found.exists() for found in paths):
            raise FileNotFoundError(f"`{spec}` must match files, got none; check the pattern, and quote it for the shell.")
    elif not path.exists():
        raise FileNotFoundError(f"`{spec}` must be a file, folder, pattern or hf:NAME, got nothing there; check the path.")
    return _read_files(paths, name=path.stem if len(paths) == 1 else path.parent.name or spec, image=image, lazy=lazy)


def _matches(pattern: str) -> list[str]:
    """Expand the signs of a glob; what matches nothing is given back as it is, for a message about a missing file."""
    return sorted(glob.glob(pattern, recursive=True)) or [pattern]  # noqa: PTH207 - the pattern may be absolute


def _read_files(paths: list[Path], *, name: str, image: str | None, lazy: bool = False) -> Source:
    endings = {"tar" if path.name.lower().endswith((".tar", ".tar.gz", ".tgz")) else path.suffix.lower() for path in paths}
    if endings == {"tar"}:
        return read_shards(paths, name=name, lazy=lazy)
    if endings == {".parquet"}:
        return read_parquet(paths, name=name, image=image)
    raise ValueError(
        f"files of a source must all be .parquet or all be .tar, got `{paths[0]}` among {sorted(endings)}; convert them or give a folder."
    )


def _read_directory(path: Path, split: str | None, image: str | None, *, lazy: bool = False) -> Source:
    for pattern in ("*.parquet", "*.tar"):
        if found := sorted(path.glob(pattern)):
            return _read_files(_of_split(found, split, str(path)), name=path.name, image=image, lazy=lazy)
    if found := leaves(path, split):
        return read_leaves(found, path.name)
    kinds = [folder for folder in subfolders(path) if folder.name.lower() in SPLITS]
    if kinds and len(kinds) == len(subfolders(path)):
        names = [folder.name for folder in kinds]
        if (split is None and len(kinds) > 1) or split not in (None, *names):
            raise ValueError(f"`split` of `{path}` must be one of {names}, got {split!r}; give it or the folder itself.")
        return _read_directory(path / (split or names[0]), None, image, lazy=lazy)
    return read_folder(path)


def _of_split(paths: Sequence[Path], split: str | None, spec: str) -> list[Path]:
    """Keep the files of one split, told by the word their names begin with."""
    matches = {path: _SPLIT_WORD.match(path.name.lower()) for path in paths}
    if split is None:
        kinds = sorted({match.group(1) for match in matches.values() if match})
        if len(kinds) > 1:
            raise ValueError(f"`{spec}` holds several splits, {kinds}, and one must be chosen; give `split` or the files themselves.")
        return list(paths)
    chosen = [path for path, match in matches.items() if match and match.group(1) == split.lower()]
    if not chosen:
        raise FileNotFoundError(
            f"`{spec}` must hold files of split {split!r}, got {[path.name for path in paths][:5]}; choose another split."
        )
    return chosen


def read_parquet(paths: Sequence[Path], *, name: str, image: str | None = None) -> Source:
    """Read parquet files in the Hugging Face image layout into memory, images still encoded.

    Args:
        paths: files with equal columns.
        name: what errors call the data.
        image: name of the image column, where it is not `image`.

    Raises:
        ValueError: for a file that is no parquet file, or columns without images.
    """
    tables = []
    class_names: tuple[str, ...] | None = None
    for path in paths:
        table = read_rows(path)
        class_names = class_names or _class_label_names(table.schema)
        tables.append(_with_keys(_with_images(table, path, image), path.stem))
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(
            f"parquet files of `{name}` must have equal columns, got {str(error).splitlines()[0]!r}; load them one by one."
        ) from error
    if not table.num_rows:
        raise ValueError(f"`{name}` must hold at least one row, got none; check the file.")
    if "rejected" in table.column_names:  # the manifest of `synthgap synthesize` keeps what its filter left out, with the reason
        table = table.filter(table.column("rejected").is_null()).drop_columns(["rejected"])
        if not table.num_rows:
            raise ValueError(f"`{name}` must hold at least one image that was not rejected, got none; see its column `rejected`.")
    return Source(table, name, class_names)


def read_rows(path: Path) -> pa.Table:
    """Read a parquet file whole, where its own description says that it fits into memory.

    Raises:
        ValueError: for a file that is no parquet file, does not fit, or has a column twice.
    """
    try:
        with pq.ParquetFile(path) as file:
            about = file.metadata
            size = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups)) + ROW_BYTES * about.num_rows
            parts, got = [], 0
            if size <= memory_budget():
                for part in file.iter_batches(batch_size=256):  # a value that stands once in the file may come in every row
                    got += part.nbytes
                    if got > memory_budget():
                        break
                    parts.append(part)
                table = pa.Table.from_batches(parts, file.schema_arrow)
                table.validate(full=True)  # text that is no UTF-8 would be met much later
    except Exception as error:  # Arrow raises its own family, and OSError, for what a damaged file holds
        raise ValueError(
            f"`{path}` must be a whole parquet file, got {(str(error).splitlines() or [''])[0][:300]!r}; write or download it again."
        ) from error
    check_fits_memory(max(size, got), f"the rows of `{path}`", "split it into smaller files")
    if twice := sorted({name for name in table.column_names if table.column_names.count(name) > 1}):
        raise ValueError(f"columns of `{path}` must have names of their own, got {twice[0]!r} twice; rename one.")
    return table


def _class_label_names(schema: pa.Schema) -> tuple[str, ...] | None:
    try:
        feature = datasets.Features.from_arrow_schema(schema).get("label")
    except Exception:  # what another program wrote under the key `huggingface` is no reason to refuse the rows
        return None
    return tuple(feature.names) if isinstance(feature, datasets.ClassLabel) and feature.names else None


def _with_images(table: pa.Table, path: Path, wanted: str | None) -> pa.Table:
    """Bring the image column to a struct of bytes and path, called `image` unless `wanted` names it."""
    candidates = [wanted] if wanted else ["image", "img"]
    name = next((column for column in candidates if column in table.column_names), None)
    if name is None and wanted is None:
        structs = [field.name for field in table.schema if pa.types.is_struct(field.type) or pa.types.is_binary(field.type)]
        name = structs[0] if len(structs) == 1 else None
    if name is None and wanted is None and "file_name" in table.column_names:  # the Hugging Face image folder's table, as parquet
        files = [value and _beside(path, value) for value in table.column("file_name").to_pylist()]
        image = pa.StructArray.from_arrays([pa.nulls(len(files), pa.binary()), pa.array(files, pa.string())], fields=list(IMAGE_TYPE))
        return table.drop_columns(["file_name"]).append_column("image", image)
    if name is None:
        raise ValueError(
            f"`{path}` must have a column {candidates[0]!r}, got {table.column_names}; name the one with the images in `columns`."
        )
    chunks = [_as_struct(chunk, path) for chunk in table.column(name).chunks]
    table = table.set_column(table.column_names.index(name), name, pa.chunked_array(chunks, IMAGE_TYPE))
    return table if wanted else table.rename_columns(["image" if column == name else column for column in table.column_names])


def _as_struct(chunk: pa.Array, path: Path) -> pa.StructArray:
    count = len(chunk)
    if pa.types.is_binary(chunk.type) or pa.types.is_large_binary(chunk.type):
        return pa.StructArray.from_arrays([chunk.cast(pa.binary()), pa.nulls(count, pa.string())], fields=list(IMAGE_TYPE))
    names = [field.name for field in chunk.type] if pa.types.is_struct(chunk.type) else []
    if "bytes" not in names and "path" not in names:
        raise ValueError(
            f"column `image` of `{path}` must hold encoded files (bytes, alone or with a path), got {chunk.type}; save them as PNG."
        )
    try:
        data = chunk.field("bytes").cast(pa.binary()) if "bytes" in names else pa.nulls(count, pa.binary())
        paths = chunk.field("path").cast(pa.string()) if "path" in names else pa.nulls(count, pa.string())
    except pa.ArrowException as error:
        raise ValueError(f"column `image` of `{path}` must hold bytes and paths, got {chunk.type}; save the images as PNG.") from error
    if data.null_count:  # path only: relative to the parquet file's folder
        paths = pa.array([value and _beside(path, value) for value in paths.to_pylist()], pa.string())
    return pa.StructArray.from_arrays([data, paths], fields=list(IMAGE_TYPE))


def _beside(path: Path, value: str) -> str:
    """Give the file that a row names: relative to the table and below its folder; that of the hub's library may be anywhere in its cache.

    Raises:
        ValueError: for a path that leads out of the folder: a table from elsewhere must not choose what is read on this machine.
    """
    outside = Path(value).is_absolute() or ".." in Path(value).parts
    if outside and path.suffix.lower() == ".parquet":
        raise ValueError(
            f"paths of images in `{path}` must stay in its folder, got {value!r}; store the images' bytes, or move them there."
        )
    return str(path.parent / value)


def _with_keys(table: pa.Table, stem: str) -> pa.Table:
    if "id" in table.column_names or "key" in table.column_names:
        return table
    return table.append_column("key", pa.array([f"{stem}/{row}" for row in range(table.num_rows)], pa.string()))
