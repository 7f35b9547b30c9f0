"""A source as people name it to a `Source`: looks at what is there and hands over to the reader of that format."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from distill.data.arrays import SUFFIXES as ARRAY_SUFFIXES
from distill.data.arrays import read_arrays
from distill.data.cifake import leaves, read_leaves
from distill.data.columns import FILE, IMAGE_TYPE, Source
from distill.data.folders import read_folder, subfolders
from distill.data.hub import column_names_of, is_saved, read_hub, read_saved
from distill.data.layouts import SPLITS, image_folders
from distill.data.shards import expand_braces, read_shards
from distill.data.vocabulary import DOMAINS, find_class_names
from distill.system.memory_limit import check_fits_memory, memory_budget

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo", "image_bytes")
"""Columns that are taken for the images, the first of them that is there."""

ROW_BYTES = 500
"""What a row takes beside its image, roughly: id, key, class and domain are Python objects for a while."""

_SPLIT_WORD = re.compile(rf"({'|'.join(SPLITS)})(?![a-z])")


@dataclass(frozen=True)
class ReadOptions:
    """What the user says of a source, where its own names do not.

    Args:
        split: where the source holds several.
        image: name of the image column of a table, where it is not `image`.
        lazy: leave the images of shards in them; see `read_shards`.
        layout: roles of the levels of folders; see `distill.data.layouts.roles_of`.
        class_names: the classes.
        class_column: the column that names the class.
    """

    split: str | None = None
    image: str | None = None
    lazy: bool = False
    layout: str | None = None
    class_names: Sequence[str] | None = None
    class_column: str | None = None


def read(spec: str, options: ReadOptions | None = None) -> Source:
    """Read a source; see `load_split`.

    Args:
        spec: file, folder, pattern or hub name.
        options: what the user says of it.

    Raises:
        FileNotFoundError: when nothing is there.
        ValueError: when it is not a known format.
    """
    options = options or ReadOptions()
    if spec.startswith("hf:"):
        source = read_hub(spec, split=options.split)
        return _with_rows_named(source, Path(spec), options)
    path = Path(spec).expanduser()
    if path.is_dir():
        source = _read_directory(path, options)
        return source if source.class_names else replace(source, names_beside=find_class_names(path))
    paths = [path]
    if not path.exists() and any(sign in spec for sign in "*?[{"):
        paths = [Path(name) for pattern in expand_braces(str(path)) for name in (_matches(pattern))]
        if not any(found.exists() for found in paths):
            raise FileNotFoundError(f"`{spec}` must match files, got none; check the pattern, and quote it for the shell.")
    elif not path.exists():
        raise FileNotFoundError(f"`{spec}` must be a file, folder, pattern or hf:NAME, got nothing there; check the path.")
    source = _read_files(paths, name=path.stem if len(paths) == 1 else path.parent.name or spec, options=options)
    return source if source.class_names else replace(source, names_beside=find_class_names(paths[0].parent))


def _with_rows_named(source: Source, place: Path, options: ReadOptions) -> Source:
    """Bring a table of the `datasets` library to an image column and keys."""
    return replace(source, table=_with_keys(_with_images(source.table, place, options.image), source.name.rpartition("@")[2]))


def _matches(pattern: str) -> list[str]:
    """Expand the signs of a glob; what matches nothing is given back as it is, for a message about a missing file."""
    return sorted(glob.glob(pattern, recursive=True)) or [pattern]  # noqa: PTH207 - the pattern may be absolute


def _ending(path: Path) -> str:
    return "tar" if path.name.lower().endswith((".tar", ".tar.gz", ".tgz")) else path.suffix.lower()


def _read_files(paths: list[Path], *, name: str, options: ReadOptions) -> Source:
    endings = {_ending(path) for path in paths}
    readers = {FILE_READERS[ending] for ending in endings if ending in FILE_READERS}
    if len(readers) == 1 and endings <= FILE_READERS.keys() and (len(paths) == 1 or next(iter(readers)).several):
        return next(iter(readers)).read(paths, name, options)
    raise ValueError(
        f"files of a source must all be .parquet or all be .tar, got `{paths[0]}` among {sorted(endings)}; "
        + ("unpack it and give the folder." if endings <= {".zip", ".7z", ".rar"} else "convert them or give a folder.")
    )


def _shards(paths: list[Path], name: str, options: ReadOptions) -> Source:
    return _with_domains(read_shards(paths, name=name, lazy=options.lazy), paths)


def _parquet(paths: list[Path], name: str, options: ReadOptions) -> Source:
    return _with_domains(read_parquet(paths, name=name, image=options.image), paths)


def _table_of_files(paths: list[Path], name: str, options: ReadOptions) -> Source:
    return read_folder(paths[0].parent, table=paths[0], **_folder_options(options))


def _arrays(paths: list[Path], name: str, options: ReadOptions) -> Source:
    return read_arrays(paths[0], split=options.split)


@dataclass(frozen=True)
class FileReader:
    """How files of one ending are read.

    Args:
        read: `read(paths, name, options)`; the rows have at least `image`, and `key`, `class_name` or `label`, `domain` as the files tell.
        several: whether several files make one source; otherwise one file alone.
    """

    read: Callable[[list[Path], str, ReadOptions], Source]
    several: bool = False


_TABLE, _ARRAYS = FileReader(_table_of_files), FileReader(_arrays)

FILE_READERS: dict[str, FileReader] = {
    "tar": FileReader(_shards, several=True),
    ".parquet": FileReader(_parquet, several=True),
    ".csv": _TABLE,
    ".tsv": _TABLE,
    ".jsonl": _TABLE,
    ".npy": _ARRAYS,
    ".npz": _ARRAYS,
}
"""Ending in lower case (`tar` for every tar archive) -> its reader. A new format is one function and one row."""


def _folder_options(options: ReadOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("split", "layout", "class_names", "class_column")}


def _with_domains(source: Source, paths: Sequence[Path]) -> Source:
    """Take the domain of each row from the names of several files, such as `test-real.parquet` and `test-fake.parquet`.

    Raises:
        ValueError: when only some of the names tell it.
    """
    if len(paths) < 2 or "domain" in source.table.column_names or FILE not in source.table.column_names:
        return replace(source, table=_without_files(source.table))
    domain_of_file = {}
    for path in paths:
        words = {DOMAINS[word] for word in re.split(r"[\W_]+", path.name.lower()) if word in DOMAINS}
        domain_of_file[str(path)] = next(iter(words)) if len(words) == 1 else None
    if not any(domain_of_file.values()):
        return replace(source, table=_without_files(source.table))
    if silent := [path for path, word in domain_of_file.items() if word is None]:
        known = next(path for path, word in domain_of_file.items() if word is not None)
        raise ValueError(
            f"names of all files of `{source.name}` must tell the domain where one does, got `{known}` and `{silent[0]}`; rename or give one."
        )
    domains = pa.array([domain_of_file[file] for file in source.table.column(FILE).to_pylist()], pa.string())
    return replace(source, table=_without_files(source.table).append_column("domain", domains))


def _without_files(table: pa.Table) -> pa.Table:
    return table.drop_columns([FILE]) if FILE in table.column_names else table


def _read_directory(path: Path, options: ReadOptions) -> Source:
    if is_saved(path):
        source = read_saved(path, split=options.split)
        return _with_rows_named(source, path / "dataset_info.json", options)
    tables = sorted(path.glob("*.parquet"))
    shards = sorted(files for pattern in ("*.tar", "*.tar.gz", "*.tgz") for files in path.glob(pattern))
    if tables and shards:
        raise ValueError(
            f"`{path}` must hold parquet files or tar shards, got both, {tables[0].name} and {shards[0].name}; give one of them."
        )
    if files := tables or shards:
        source = _read_files(_of_split(files, options.split, str(path)), name=path.name, options=options)
        _refuse_images_beside(path, source)
        return source
    if files := leaves(path, options.split):
        return read_leaves(files, path.name)
    folders = subfolders(path)
    kinds = [folder for folder in folders if folder.name.lower() in SPLITS]
    if kinds and len(kinds) == len(folders) and options.layout is None:
        names = [folder.name for folder in kinds]
        if (options.split is None and len(kinds) > 1) or options.split not in (None, *names):
            raise ValueError(
                f"`split` of `{path}` must be one of {names}, got {options.split!r}; give it or the folder itself (`{kinds[0]}`, or `--split {names[0]}`)."
            )
        return _read_directory(path / (options.split or names[0]), replace(options, split=None))
    arrays = sorted(files for ending in ARRAY_SUFFIXES for files in path.glob(f"*{ending}"))
    if arrays and not image_folders(path)[0]:
        return read_arrays(path, split=options.split)
    if len(folders) == 1 and (is_saved(folders[0]) or any(folders[0].glob("*.parquet"))) and not image_folders(path)[0]:
        return _read_directory(folders[0], options)  # data/ in a copy of a hub repository
    return read_folder(path, **_folder_options(options))


def _refuse_images_beside(path: Path, source: Source) -> None:
    """Refuse folders of images beside tables that hold images themselves: one of the two would be dropped."""
    if any(entry["bytes"] is not None for entry in source.table.column("image").slice(0, 1).to_pylist() if entry):
        folders = [folder for name in subfolders(path) for folder in image_folders(name)[0][:1]]
        if folders:
            raise ValueError(
                f"`{path}` must hold parquet files, tar shards or image folders, got files with images and `{folders[0].files[0]}`; "
                "give the files (such as `*.parquet` in it) or the folder."
            )


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
    labels: dict[str, tuple[str, ...]] = {}
    for path in paths:
        table = read_rows(path)
        _check_same_names(labels, _class_label_names(table.schema), path)
        table = _with_keys(_with_images(table, path, image), path.stem)
        tables.append(table if len(paths) == 1 else _with_file(table, path))
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
    return Source(table, name, column_names=labels)


def _with_file(table: pa.Table, path: Path) -> pa.Table:
    return table.append_column(FILE, pa.array([str(path)] * table.num_rows, pa.string()))


def _check_same_names(labels: dict[str, tuple[str, ...]], further: Mapping[str, tuple[str, ...]], path: Path) -> None:
    """Gather the names of integers, and refuse a file that numbers its classes otherwise than those before it."""
    for column, names in further.items():
        if labels.setdefault(column, names) != names:
            raise ValueError(
                f"files of one source must number their classes alike, got {list(labels[column])[:5]} and in `{path}` {list(names)[:5]}; load them one by one."
            )


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


def _class_label_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    try:
        return column_names_of(datasets.Features.from_arrow_schema(schema))
    except Exception:  # what another program wrote under the key `huggingface` is no reason to refuse the rows
        return {}


def _with_images(table: pa.Table, path: Path, wanted: str | None) -> pa.Table:
    """Bring the image column to a struct of bytes and path, called `image` unless `wanted` names it."""
    candidates = [wanted] if wanted else list(IMAGE_COLUMNS)
    lower = {column.lower(): column for column in reversed(table.column_names)}
    name = next((column for column in candidates if column in table.column_names), None)
    if name is None and wanted is None:
        name = next(
            (lower[word] for word in candidates if word in lower and not pa.types.is_string(table.schema.field(lower[word]).type)), None
        )
    if name is None and wanted is None:
        structs = [field.name for field in table.schema if pa.types.is_struct(field.type) or pa.types.is_binary(field.type)]
        name = structs[0] if len(structs) == 1 else None
    if name is None and wanted is None and "file_name" in table.column_names:  # the Hugging Face image folder's table, as parquet
        files = [value and _beside(path, value) for value in table.column("file_name").to_pylist()]
        image = pa.StructArray.from_arrays([pa.nulls(len(files), pa.binary()), pa.array(files, pa.string())], fields=list(IMAGE_TYPE))
        return table.drop_columns(["file_name"]).append_column("image", image)
    if name is None:
        raise ValueError(
            f"`{path}` must have a column {candidates[0]!r}, got {table.column_names}; name the one with the images with `--image-column` (`columns`)."
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
    """Return the file that a row names, relative to the table. It must lie below the table's folder; the hub's library may keep it anywhere in its cache.

    Raises:
        ValueError: for a path that leads out of the folder: a table from elsewhere must not choose what is read on this machine.
    """
    outside = Path(value).is_absolute() or ".." in Path(value).parts
    if outside and path.suffix.lower() in (".parquet", ".json"):
        raise ValueError(
            f"paths of images in `{path}` must stay in its folder, got {value!r}; store the images' bytes, or move them there."
        )
    return str(path.parent / value)


def _with_keys(table: pa.Table, stem: str) -> pa.Table:
    if "id" in table.column_names or "key" in table.column_names:
        return table
    return table.append_column("key", pa.array([f"{stem}/{row}" for row in range(table.num_rows)], pa.string()))
