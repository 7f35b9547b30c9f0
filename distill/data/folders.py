"""Image folders, `root/<domain>/<class>/*` and other layouts, with captions and classes from a table or text files beside the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from distill.data.columns import IMAGE_TYPE, Source, check_unique
from distill.data.decode import SUFFIXES
from distill.data.layouts import ImageFolder, check_case, check_same_classes, image_folders, is_junk, of_split, roles_of
from distill.data.vocabulary import class_column_of, domain_word
from distill.system.memory_limit import check_fits_memory
from distill.system.untrusted_text import parse_json

MAX_CAPTION = 2**16
"""Bytes of a caption that are read; a text tower takes some hundred."""


TABLES = ("metadata.jsonl", "metadata.csv")
"""Tables that are always read: those of the Hugging Face image folder."""

FILE_COLUMNS = (
    "file_name",
    "filename",
    "file",
    "image",
    "image_name",
    "image_path",
    "img_path",
    "filepath",
    "path",
    "img",
    "image_id",
    "id",
)
"""Columns that may name an image's file, the likeliest first."""


def subfolders(folder: Path) -> list[Path]:
    """List the visible folders in `folder`, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_junk(path.name) and not path.name.startswith("_"))


def read_folder(
    root: Path,
    *,
    split: str | None = None,
    layout: str | None = None,
    class_names: Sequence[str] | None = None,
    class_column: str | None = None,
    table: Path | None = None,
) -> Source:
    """List an image folder; the images are read when they are needed.

    Args:
        root: folder whose folders name class, domain and split in any order that their names tell; see `layouts.roles_of`.
        split: where folders name several.
        layout: what each level of folders says, where their names do not tell it.
        class_names: classes that the user gives.
        class_column: column of the table beside the images that names the class, in place of folders.
        table: a table that chooses the images; None: all images, with `metadata.csv` or another one where it is there.

    Returns:
        Rows with `key` (`<class>/<path in it>`), `class_name`, `image` by path, `domain` where folders tell it, `caption` and other
        columns where a table or text files give them.

    Raises:
        FileNotFoundError: for a folder without images.
        ValueError: for an empty class folder, images outside class folders, or folders that cannot be told.
    """
    folders, others = image_folders(root)
    if not folders:
        _refuse_empty(root, others)
    beside = find_image_table(root, [path for folder in folders for path in folder.files], given=table)
    if beside is not None and table is not None:
        folders = _listed(folders, set(beside.paths))
    depth = min(len(folder.parts) for folder in folders)
    by_table = beside is not None and class_column_of(beside.table.column_names, class_column) is not None
    if depth == 0 and not by_table:
        _refuse_strays(folders[0].files)
    roles = roles_of(root, folders, layout=layout, class_names=class_names) if depth else ()
    folders = of_split(root, folders, roles, split)
    chosen = {folder.parts[roles.index("class")] for folder in folders} if "class" in roles else set()
    if by_table and (table is not None or class_column is not None or len(chosen) < 2):
        roles = tuple("*" if role == "class" else role for role in roles)
    elif "class" not in roles:
        _refuse_strays(folders[0].files)
    else:
        check_case(root, sorted(chosen))
        _check_empty(root, others, roles)
    return _source(root, folders, roles, beside)


def _listed(folders: Sequence[ImageFolder], listed: set[Path]) -> list[ImageFolder]:
    """Keep the images that a table lists."""
    kept = [ImageFolder(folder.path, folder.parts, tuple(path for path in folder.files if path in listed)) for folder in folders]
    return [folder for folder in kept if folder.files]


def _refuse_empty(root: Path, others: Sequence[tuple[str, ...]]) -> None:
    if inner := [parts for parts in others if parts]:
        raise ValueError(
            f"class folder `{root.joinpath(*inner[0])}` must hold images ({', '.join(SUFFIXES)}), got none; add some or remove the folder."
        )
    names = sorted(path.name for path in root.iterdir() if path.is_file() and not is_junk(path.name))
    seen = f"only {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}" if names else "none"
    raise FileNotFoundError(
        f"`{root}` must hold class folders, domain folders, parquet files or tar shards, got {seen}; "
        + ("unpack or convert these files." if names else "check the path.")
    )


def _refuse_strays(strays: Sequence[Path]) -> None:
    raise ValueError(
        f"images must lie in a folder named after their class, got `{strays[0]}` ({len(strays)} such); move them, or name their classes in a "
        "table beside them (`metadata.csv` with the columns file_name and class_name)."
    )


def _check_empty(root: Path, others: Sequence[tuple[str, ...]], roles: Sequence[str]) -> None:
    """Refuse empty folders where classes, domains or splits lie."""
    for parts in others:
        if 0 < len(parts) <= roles.index("class") + 1:
            raise ValueError(
                f"class folder `{root.joinpath(*parts)}` must hold images ({', '.join(SUFFIXES)}), got none; add some or remove the folder."
            )


def _source(root: Path, folders: Sequence[ImageFolder], roles: Sequence[str], beside: ImageTable | None) -> Source:
    place = {role: level for level, role in enumerate(roles) if role != "*"}
    keys: list[str] = []
    paths: list[Path] = []
    named: dict[str, list[str | None]] = {role: [] for role in ("domain", "class", "generator", "group") if role in place}
    for folder in folders:
        names = {role: folder.parts[level] for role, level in place.items()}
        domain = domain_word(names.get("domain", ""))
        words = {"domain": domain, "class": names.get("class"), "group": names.get("group")}
        words["generator"] = None if domain == "real" else names.get("generator")
        rest = [
            part for level, part in enumerate(folder.parts) if level not in (place.get("domain"), place.get("class"), place.get("split"))
        ]
        prefix = "/".join([*([names["class"]] if "class" in names else []), *rest])
        keys += [f"{prefix}/{path.name}" if prefix else path.name for path in folder.files]
        paths += folder.files
        for role, values in named.items():
            values += [words[role]] * len(folder.files)
    if "domain" in named and "class" in named:
        pairs = set(zip(named["domain"], named["class"], strict=True))
        check_same_classes(root, {str(word): {str(name) for other, name in pairs if other == word} for word, _ in pairs})
    _check_keys(keys, named.get("domain"), paths)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {"key": pa.array(keys, pa.string()), "image": by_path(paths)}
    columns |= {("class_name" if role == "class" else role): pa.array(values, pa.string()) for role, values in named.items()}
    if beside is not None:
        columns |= beside.columns_for(paths, named)
    if "caption" not in columns and "text" not in columns:
        texts = [path.with_suffix(".txt") for path in paths]
        columns["caption"] = pa.array([_caption(text) if text.is_file() else None for text in texts], pa.string())
    return Source(pa.table(columns), root.name, from_folders="class" in named)


def _check_keys(keys: Sequence[str], domains: Sequence[str | None] | None, paths: Sequence[Path]) -> None:
    """Refuse two images that would get one id, which happens when folders of the same name lie in several places."""
    pairs = list(zip(domains or [None] * len(keys), keys, strict=True))
    double = next((pair for pair, count in Counter(pairs).items() if count > 1), None)
    if double is not None:
        first, second = [path for pair, path in zip(pairs, paths, strict=True) if pair == double][:2]
        raise ValueError(f"images of one class and domain must have names of their own, got `{first}` and `{second}`; rename one.")


def _caption(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_CAPTION).decode("utf-8", errors="replace").strip()


def by_path(paths: Sequence[Path]) -> pa.Array:
    """Make an `image` column that refers to files: (N,) struct of null bytes and path."""
    return pa.StructArray.from_arrays(
        [pa.nulls(len(paths), pa.binary()), pa.array([str(path.absolute()) for path in paths], pa.string())], fields=list(IMAGE_TYPE)
    )


@dataclass(frozen=True)
class ImageTable:
    """A table with a row for each of some images.

    Args:
        path: the file.
        table: its other columns.
        paths: the image of each row.
    """

    path: Path
    table: pa.Table
    paths: tuple[Path, ...]

    def columns_for(self, paths: Sequence[Path], named: Mapping[str, Sequence[str | None]]) -> dict[str, pa.ChunkedArray]:
        """Bring the columns into the order of images; null for images that the table lacks.

        Args:
            paths: the images.
            named: what folders say of each image, `class` and `domain`, which go before what the table says.

        Raises:
            ValueError: where the table contradicts the folders.
        """
        rows = {path: row for row, path in enumerate(self.paths)}
        places = pa.array([rows.get(path) for path in paths], pa.int64())
        table = self.table
        for role, column in (("class", "class_name"), ("domain", "domain")):
            if role in named and column in table.column_names:
                _check_agrees(self.path, column, table.column(column).take(places).to_pylist(), named[role], paths)
        dropped = {"key"} | ({"class_name", "label"} if "class" in named else set()) | ({"domain"} if "domain" in named else set())
        return {name: table.column(name).take(places) for name in table.column_names if name not in dropped}


def _check_agrees(table: Path, column: str, values: Sequence[object], named: Sequence[str | None], paths: Sequence[Path]) -> None:
    for value, name, path in zip(values, named, paths, strict=True):
        table_value = domain_word(str(value)) if column == "domain" else value
        if isinstance(value, str) and value and table_value != name:
            option = " `--class-column class_name` takes the table's;" if column == "class_name" else ""
            raise ValueError(
                f"`{column}` in `{table}` must agree with the folders, got {value!r} for `{path}`;{option} correct one of them."
            )


def find_image_table(root: Path, images: Sequence[Path], *, given: Path | None = None) -> ImageTable | None:
    """Read the table that belongs to a folder of images.

    Args:
        root: the folder.
        images: all images in it, at any depth.
        given: the table; None: `metadata.jsonl` or `metadata.csv`, else the only CSV file in `root` that names its images and their classes.

    Raises:
        ValueError: for a table that cannot be read, or names images that are not there.
    """
    if given is not None:
        return _image_table(given, _read_table(given), root, images, strict=True)
    path = next((root / name for name in TABLES if (root / name).is_file()), None)
    if path is not None:
        return _image_table(path, _read_table(path), root, images, strict=True)
    if not any(image.parent == root for image in images) and len({image.relative_to(root).parts[0] for image in images}) > 1:
        return None  # class folders: a table of another kind is none of ours
    tables = []
    for path in sorted([*root.glob("*.csv"), *root.glob("*.tsv")]):
        table = _image_table(path, _read_table(path), root, images, strict=False)
        if table is not None and class_column_of(table.table.column_names, None) is not None:
            tables.append(table)
    if len(tables) > 1:
        names = [table.path.name for table in tables]
        raise ValueError(
            f"one table in `{root}` must name the classes of the images, got {names}; give the one to use, such as `{tables[0].path}`."
        )
    return tables[0] if tables else None


def _read_table(path: Path) -> pa.Table:
    try:
        check_fits_memory(path.stat().st_size, f"`{path}`", "split it")
        if path.suffix == ".jsonl":
            return _read_lines(path)
        types = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(FILE_COLUMNS, pa.string()))  # 0001 is a name, not a number
        parse = pyarrow.csv.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ",")
        return pyarrow.csv.read_csv(path, parse_options=parse, convert_options=types)
    except (pa.ArrowException, ValueError, TypeError, OSError) as error:
        line = (str(error).splitlines() or [""])[0][:300]
        raise ValueError(f"`{path}` must be a readable table, got {line!r}; correct or remove it.") from error


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


def _image_table(path: Path, table: pa.Table, root: Path, images: Sequence[Path], *, strict: bool) -> ImageTable | None:
    """Find the images that a table names; with `strict` all of them must be there."""
    names = table.column_names
    column = next((name for name in FILE_COLUMNS if names.count(name) == 1), None)
    if column is None or len(set(names)) < len(names) or (strict and path.name in TABLES and column != "file_name"):
        if not strict:
            return None
        raise ValueError(f"`{path}` must have a column `file_name`, and none twice, got {names}; correct it or remove the file.")
    values = [str(name) for name in table.column(column).to_pylist()]
    if strict:
        check_unique(values, str(path))
    known = _names_of(root, images, exact=path.name in TABLES)
    image_of_row = [known.get(_written_plainly(value, root)) for value in values]
    if strict and None in image_of_row:
        absent = sorted(value for value, image in zip(values, image_of_row, strict=True) if image is None)
        raise ValueError(f"`{column}` in `{path}` must name images in class folders, got {absent[0]!r} ({len(absent)} such); correct it.")
    kept = [row for row, image in enumerate(image_of_row) if image is not None]
    if not kept or len({image_of_row[row] for row in kept}) < len(kept):
        return None
    return ImageTable(path, table.take(kept).drop_columns([column]), tuple(image_of_row[row] for row in kept))  # type: ignore[misc]


def _written_plainly(value: str, root: Path) -> str:
    """Write a path as it is below `root`: with slashes, without `./`, and without the root's own path where it begins with that."""
    plain = value.replace("\\", "/").removeprefix("./")
    return plain.removeprefix(f"{root.absolute().as_posix()}/") if plain.startswith("/") else plain


def _names_of(root: Path, images: Sequence[Path], *, exact: bool) -> dict[str, Path]:
    """Name images as tables do: by the path from the root, and unless `exact` by file name or stem where only one image has it."""
    known = {image.relative_to(root).as_posix(): image for image in images}
    if exact:
        return known
    for short in ("name", "stem"):
        counts = Counter(getattr(image, short) for image in images)
        known = {getattr(image, short): image for image in images if counts[getattr(image, short)] == 1} | known
    return known
