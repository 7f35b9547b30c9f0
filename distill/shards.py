"""WebDataset shards: samples of a tar file, never extracted to disk."""

from __future__ import annotations

import contextlib
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from distill.columns import IMAGE_TYPE, Source
from distill.images import SUFFIXES

_BATCH = 1000  # samples an Arrow chunk; one chunk must stay below 2 GiB
_PLACE = re.compile(r"(.+)#(\d+)\+(\d+)")  # shard, offset and bytes of an image that stays in its shard
_BRACES = re.compile(r"\{([^{}]*)\}")


def expand_braces(spec: str) -> list[str]:
    """Expand `{0000..0012}` and `{a,b}` as a shell does, keeping leading zeros.

    Args:
        spec: a path with any number of braces.

    Returns:
        All paths in order; `[spec]` without braces.

    Raises:
        ValueError: for a brace that is neither a range nor a list.

    Example:
        >>> expand_braces("cats-{08..10}.tar")
        ['cats-08.tar', 'cats-09.tar', 'cats-10.tar']
    """
    match = _BRACES.search(spec)
    if match is None:
        return [spec]
    inside = match.group(1)
    if found := re.fullmatch(r"(\d+)\.\.(\d+)", inside):
        low, high = found.groups()
        words = [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]
    else:
        words = inside.split(",")
    if (len(words) < 2 and ".." not in inside) or not words:
        raise ValueError(f"braces in `{spec}` must be a range {{000..012}} or a list {{a,b}}, got {{{inside}}}; correct it.")
    return [rest for word in words for rest in expand_braces(spec[: match.start()] + word + spec[match.end() :])]


def read_shards(paths: list[Path], *, name: str, lazy: bool = False) -> Source:
    """Read WebDataset shards into memory, images still encoded.

    Why not the `datasets` builder: it infers one set of fields from five samples, so that a shard with PNG and JPEG images, or with JSON
    whose keys vary as img2dataset writes it, is refused.

    Args:
        paths: tar files, compressed or not; a sample is the run of files that share a name up to its first dot.
        name: what errors call the data.
        lazy: leave the images of uncompressed shards where they are and note their places (see `place_in_shard`): for one pass in order
            over more than the memory holds.

    Returns:
        Rows with `key`, `image`, from `cls` a `label` or `class_name`, from `txt` the `caption`, and the text and integers of `json`.

    Raises:
        FileNotFoundError: for a shard that is not there.
        ValueError: for a broken shard, or a sample without exactly one image.
    """
    tables, batch = [], []
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"shard `{path}` must exist, got nothing there; check the pattern.")
        for sample in _samples(path, lazy=lazy):
            batch.append(sample)
            if len(batch) == _BATCH:
                tables.append(_table(batch))
                batch = []
    if batch:
        tables.append(_table(batch))
    if not tables:
        raise ValueError(f"`{name}` must hold samples such as 0001.jpg and 0001.cls, got none; check the shards.")
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(
            f"entries of `{name}` must have one type, got {str(error).splitlines()[0]!r}; make them all text or all integers."
        ) from error
    return Source(table, name, _class_names(paths[0]))


def _table(samples: list[dict[str, Any]]) -> pa.Table:
    names = dict.fromkeys(name for sample in samples for name in sample)
    columns = {}
    for name in names:
        values = [sample.get(name) for sample in samples]
        if name == "image":
            columns[name] = pa.array(values, IMAGE_TYPE)
        elif any(isinstance(value, str) for value in values):
            columns[name] = pa.array([value if value is None else str(value) for value in values], pa.string())
        else:
            columns[name] = pa.array(values, pa.int64())
    return pa.table(columns)


def place_in_shard(path: str) -> tuple[Path, int, int] | None:
    """Tell shard, offset and number of bytes from the `path` of an image that was left in its shard; None for any other path."""
    match = _PLACE.fullmatch(path)
    return None if match is None else (Path(match[1]), int(match[2]), int(match[3]))


def _samples(path: Path, *, lazy: bool) -> Iterator[dict[str, Any]]:
    key: str | None = None
    files: dict[str, bytes | str] = {}
    try:
        with _opened(path, lazy=lazy) as tar:
            stays = lazy and isinstance(tar.fileobj, io.IOBase)  # not one of tarfile's own streams, which cannot go back
            for member in tar:
                folder, _, base = member.name.rpartition("/")
                stem, dot, kind = base.partition(".")
                if not member.isfile() or not stem or not dot:
                    continue
                if (full := f"{folder}/{stem}" if folder else stem) != key:
                    if files:
                        yield _sample(path, str(key), files)
                    key, files = full, {}
                if stays and not member.issparse() and _is_image(kind.lower()):
                    files[kind.lower()] = f"{path.absolute()}#{member.offset_data}+{member.size}"
                else:
                    files[kind.lower()] = tar.extractfile(member).read()  # type: ignore[union-attr]
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header, a kilobyte an image
        if files:
            yield _sample(path, str(key), files)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"shard `{path}` must be a whole tar file, got {str(error)!r}; write or download it again.") from error


def _opened(path: Path, *, lazy: bool) -> tarfile.TarFile:
    """Open a shard so that images can be passed over, where it is not compressed; else as a stream."""
    if lazy:
        with contextlib.suppress(tarfile.ReadError):
            return tarfile.open(path, "r:")
    return tarfile.open(path, "r|*")


def _is_image(kind: str) -> bool:
    return f".{kind.rsplit('.', 1)[-1]}" in SUFFIXES


def _sample(path: Path, key: str, files: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the files of one sample to the row of a table."""
    images = [kind for kind in files if _is_image(kind)]
    if len(images) != 1:
        raise ValueError(f"sample {key!r} of shard `{path}` must have exactly one image, got {sorted(files)}; mend the shard.")
    row: dict[str, Any] = {}
    try:
        if "json" in files:
            row |= {name: value for name, value in json.loads(files["json"]).items() if _is_plain(value)}
        if "txt" in files:
            row["caption"] = files["txt"].decode("utf-8").strip()
        if "cls" in files:
            text = files["cls"].decode("utf-8").strip()
            row |= {"label": int(text)} if text.lstrip("-").isdigit() else {"class_name": text}
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"json, txt and cls of sample {key!r} in shard `{path}` must be an object and text, got {str(error)!r}; mend the shard."
        ) from error
    image = files[images[0]]
    held = {"bytes": None, "path": image} if isinstance(image, str) else {"bytes": image, "path": f"{key}.{images[0]}"}
    return row | {"key": key, "image": held}


def _is_plain(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63)


def _class_names(shard: Path) -> tuple[str, ...] | None:
    """Read `classnames.txt`, one name a line, beside the shards or one folder up, where CLIP_benchmark puts it."""
    for folder in (shard.parent, shard.parent.parent):
        path = folder / "classnames.txt"
        if path.is_file():
            return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return None
