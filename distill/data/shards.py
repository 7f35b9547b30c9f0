"""WebDataset shards: samples of a tar file, never extracted to disk."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from distill.data.columns import FILE, IMAGE_TYPE, Source
from distill.data.decode import MAX_BYTES, SUFFIXES
from distill.data.vocabulary import find_class_names
from distill.system.memory_limit import check_fits_memory
from distill.system.untrusted_text import parse_json

_BATCH = 1000  # samples an Arrow chunk
_BYTES = 2**30  # and its images, for one chunk must stay below 2 GiB
MAX_SHARDS = 100_000
"""Most paths that braces may stand for."""

MAX_NAMES = 2**20
"""Largest header of a member, in bytes: names and their extensions, which a tar reader takes into memory whole."""

MOST_LOOKED_AT = 256
"""Members whose names tell whether keys have dots."""

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
    paths = [spec]
    while any(_BRACES.search(path) for path in paths):  # all of them have equal braces left
        choices = _choices(spec, paths[0])
        if len(paths) * len(choices) > MAX_SHARDS:
            raise ValueError(f"braces in `{spec}` must stand for at most {MAX_SHARDS:,} files, got more; give fewer at once.")
        paths = [_BRACES.sub(lambda _, word=word: word, path, count=1) for path in paths for word in choices]  # type: ignore[misc]
    return paths


def _choices(spec: str, path: str) -> list[str]:
    """List the words that the first braces of a path stand for."""
    match = _BRACES.search(path)
    inside = match.group(1) if match else ""
    if number_range := re.fullmatch(r"(\d+)\.\.(\d+)", inside):
        low, high = number_range.groups()
        if len(low) > 9 or len(high) > 9 or int(high) - int(low) >= MAX_SHARDS:
            raise ValueError(f"braces in `{spec}` must stand for at most {MAX_SHARDS:,} files, got {{{inside}}}; give fewer at once.")
        words = [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]
    else:
        words = inside.split(",")
    if (len(words) < 2 and ".." not in inside) or not words:
        raise ValueError(f"braces in `{spec}` must be a range {{000..012}} or a list {{a,b}}, got {{{inside}}}; correct it.")
    return words


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
    tables, batch, size, total = [], [], 0, 0
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"shard `{path}` must exist, got nothing there; check the pattern.")
        for sample in _samples(path, lazy=lazy):
            batch.append(sample | {FILE: str(path)} if len(paths) > 1 else sample)
            image_bytes = len(sample["image"]["bytes"] or b"")
            size, total = size + image_bytes, total + image_bytes
            check_fits_memory(total, f"the images of `{name}`", "read fewer shards at once, or train on them as a stream (`data.streams`)")
            if len(batch) == _BATCH or size > _BYTES:
                tables.append(_table(batch, path))
                batch, size = [], 0
    if batch:
        tables.append(_table(batch, paths[-1]))
    if not tables:
        raise ValueError(f"`{name}` must hold samples such as 0001.jpg and 0001.cls, got none; check the shards.")
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(
            f"entries of `{name}` must have one type, got {str(error).splitlines()[0]!r}; make them all text or all integers."
        ) from error
    return Source(table, name, find_class_names(paths[0].parent))


def _table(samples: list[dict[str, Any]], path: Path) -> pa.Table:
    names = dict.fromkeys(name for sample in samples for name in sample)
    columns = {}
    for name in names:
        values = [sample.get(name) for sample in samples]
        try:
            if name == "image":
                columns[name] = pa.array(values, IMAGE_TYPE)
            elif any(isinstance(value, str) for value in values):
                columns[name] = pa.array([value if value is None else str(value) for value in values], pa.string())
            else:
                columns[name] = pa.array(values, pa.int64())
        except (UnicodeEncodeError, OverflowError, pa.ArrowException) as error:  # a name in another encoding, half a character
            raise ValueError(
                f"names and entries of shard `{path}` must be text and numbers, got {error} in {name!r}; mend the shard."
            ) from error
    return pa.table(columns)


def place_in_shard(path: str) -> tuple[Path, int, int] | None:
    """Tell shard, offset and number of bytes from the `path` of an image that was left in its shard; None for any other path."""
    match = _PLACE.fullmatch(path)
    return None if match is None else (Path(match[1]), int(match[2]), int(match[3]))


class _Member(tarfile.TarInfo):
    """A header that is refused when it is longer than any name: it would be taken into memory before anybody could ask for its size.

    So is an archive that ends without the block of zeros that ends one: tarfile takes a shard that was cut between two members for a whole one.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header."""
        try:
            member = super().frombuf(buf, encoding, errors)
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError("an end without the zeros that end a tar file, as of one that was cut short") from error
        if (member.size > MAX_NAMES and not member.isfile()) or member.size < 0:
            raise tarfile.ReadError(f"a header of {member.size} bytes")
        return member


def _samples(path: Path, *, lazy: bool) -> Iterator[dict[str, Any]]:
    key: str | None = None
    files: dict[str, bytes | str] = {}
    for name, kind, data in _members(path, lazy=lazy, dots=_has_dots(path)):
        if name != key:
            if files:
                yield _sample(path, str(key), files)
            key, files = name, {}
        files[kind] = data
    if files:
        yield _sample(path, str(key), files)


def _has_dots(path: Path) -> bool:
    """Tell whether keys have dots in them, as in `photo.v2.0001.jpg` beside `photo.v2.0001.cls`: WebDataset itself would end them at the first.

    So it is where every file that shares its name up to the first dot with the first one has a further dot, and up to the last dot goes with
    one image.
    """
    kinds: list[str] = []
    first: tuple[str, str] | None = None
    for name in itertools.islice(_names(path), MOST_LOOKED_AT):
        folder, _, base = name.rpartition("/")
        key, _, kind = base.partition(".")
        first = first or (folder, key)
        if (folder, key) != first:
            break
        kinds.append(kind)
    stems = [kind.rpartition(".")[0] for kind in kinds]
    if not stems or "" in stems:
        return False
    last = stems[-1] if len(kinds) == MOST_LOOKED_AT else None  # whose other files may not have been looked at
    images = [stem for stem, kind in zip(stems, kinds, strict=True) if _is_image(kind.lower())]
    if len(images) < 2 and not any(kind.lower().endswith((".cls", ".txt", ".json")) for kind in kinds):
        return False  # one image, whose ending has a dot
    return all(images.count(stem) == 1 for stem in set(stems) if stem != last)


def _names(path: Path) -> Iterator[str]:
    """Name the first regular files of a shard; what is wrong with it is said when it is read."""
    with contextlib.suppress(Exception), tarfile.open(path, "r|*", tarinfo=_Member) as tar:
        for member in tar:
            if _refusal(path, member):  # said when it is read; to go past it may take for ever
                return
            base = member.name.rpartition("/")[2]
            if member.isfile() and not base.startswith(".") and "." in base:
                yield member.name


def _members(path: Path, *, lazy: bool, dots: bool = False) -> Iterator[tuple[str, str, bytes | str]]:
    """Read the regular files of a shard, in order; nothing is ever written to disk.

    With `dots` a key ends at the last dot of a name, else at the first.

    Yields:
        Key, ending in small letters, and the content, or with `lazy` the place of an image.

    Raises:
        ValueError: for a broken shard, a member that is larger than an image may be, or one whose name leads out of the shard.
    """
    refused = None
    try:
        with _opened(path, lazy=lazy) as tar:
            stays = lazy and isinstance(tar.fileobj, io.IOBase)  # not one of tarfile's own streams, which cannot go back
            for member in tar:
                folder, _, base = member.name.rpartition("/")
                stem, dot, kind = base.rpartition(".") if dots else base.partition(".")
                if not member.isfile() or not stem or not dot:
                    continue
                refused = _refusal(path, member)
                if refused:
                    break
                if stays and not member.issparse() and _is_image(kind.lower()):
                    data: bytes | str = f"{path.absolute()}#{member.offset_data}+{member.size}"
                else:
                    data = tar.extractfile(member).read()  # type: ignore[union-attr]
                yield f"{folder}/{stem}" if folder else stem, kind.lower(), data
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header, a kilobyte an image
    except Exception as error:  # tarfile and the four decompressors raise many kinds for a damaged file
        raise ValueError(f"shard `{path}` must be a whole tar file, got {str(error)!r}; write or download it again.") from error
    if refused:
        raise ValueError(f"{refused}; pack the shard again.")


def _refusal(path: Path, member: tarfile.TarInfo) -> str | None:
    if member.size > MAX_BYTES:
        return f"members of shard `{path}` must have at most {MAX_BYTES >> 20} MiB, got {member.size >> 20} in {member.name!r}"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return f"members of shard `{path}` must have names that stay in it, got {member.name!r}"
    return None


def _opened(path: Path, *, lazy: bool) -> tarfile.TarFile:
    """Open a shard so that images can be passed over, where it is not compressed; else as a stream."""
    if lazy:
        with contextlib.suppress(tarfile.ReadError):
            return tarfile.open(path, "r:", tarinfo=_Member)
    return tarfile.open(path, "r|*", tarinfo=_Member)


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
            row |= {name: value for name, value in parse_json(files["json"], "json").items() if _is_plain(value)}
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
    entry = {"bytes": None, "path": image} if isinstance(image, str) else {"bytes": image, "path": f"{key}.{images[0]}"}
    return row | {"key": key, "image": entry}


def _is_plain(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63)
