"""`Split`: ids, encoded images, class, domain, caption, generator. Every source format ends here."""

from __future__ import annotations

import hashlib
import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, concatenate_datasets

from distill.data.columns import OURS, Source, as_dataset, assemble, check_unique, encode
from distill.data.decode import MAX_SIZE, ImageFacts, fact_columns, facts
from distill.data.pixel_cache import collect, decode_all, digests, find_bad, refuse
from distill.data.readers import ReadOptions, read
from distill.data.vocabulary import DOMAINS, check_domain

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Split:
    """N labelled images that stay encoded until `pixels` is called.

    Args:
        rows: data set with the columns `id` str, `image` (struct of bytes and path, undecoded), `label` int64, `domain` `real` or
            `synthetic`, `caption` str or None, `generator` str or None, and further text columns of the source.
        class_names: C names; label c is `class_names[c]`.
        name: what messages call the data.
        skipped: bad images that `skip_bad` left out.
    """

    rows: Dataset
    class_names: tuple[str, ...]
    name: str
    skipped: int = 0
    _memo: dict[str, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> list[Any]:
        """Return one column as Python values.

        Args:
            name: of a column of `rows`.

        Raises:
            ValueError: for a column that is not there.
        """
        return self._arrow(name).to_pylist()

    def _arrow(self, name: str) -> pa.ChunkedArray:
        if name not in self.rows.column_names:
            raise ValueError(f"`{self.name}` must have a column {name!r}, got {self.rows.column_names}; choose one of these.")
        return self.rows.select_columns([name]).with_format("arrow")[:].column(name)

    @property
    def ids(self) -> np.ndarray:
        """Stable unique ids (N,), str."""
        return np.array(self.column("id"), dtype=str)

    @property
    def labels(self) -> np.ndarray:
        """Labels (N,), int64 in 0..C-1."""
        return self._arrow("label").to_numpy().astype(np.int64)

    @property
    def domains(self) -> np.ndarray:
        """Domains (N,), str, `real` or `synthetic`."""
        return np.array(self.column("domain"), dtype=str)

    @property
    def captions(self) -> list[str | None] | None:
        """Captions, one an image; None where the source has none at all."""
        values = self.column("caption")
        return values if any(value is not None for value in values) else None

    @property
    def groups(self) -> np.ndarray | None:
        """Groups (N,), str, from the column `group`, such as the background; None where the source has none or leaves gaps."""
        if "group" not in self.rows.column_names:
            return None
        values = self.column("group")
        return None if any(value is None or value == "" for value in values) else np.array(values, dtype=str)

    def with_groups(self, column: str) -> Split:
        """Take another text column for the groups.

        Args:
            column: one of `attributes`.

        Raises:
            ValueError: for a column that is absent or has gaps.
        """
        values = self.column(column)
        if not all(isinstance(value, str) and value for value in values):
            raise ValueError(
                f"column {column!r} of `{self.name}` must hold text in every row, got gaps; choose from {list(self.attributes)}."
            )
        table = pa.concat_tables(self.rows.with_format("arrow").iter(batch_size=10_000))
        table = table.drop_columns(["group"]) if "group" in table.column_names else table
        memo = {key: self._memo[key] for key in ("digests",) if key in self._memo}
        return replace(self, rows=as_dataset(table.append_column("group", pa.array(values, pa.string()))), _memo=memo)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the source's further text columns, each of them ready for `task`."""
        return tuple(name for name in self.rows.column_names if name not in OURS)

    def select(self, indices: Sequence[int] | np.ndarray) -> Split:
        """Keep some rows, in the order given.

        Args:
            indices: positions (M,) in 0..N-1, or a boolean mask (N,).

        Raises:
            ValueError: for a mask of another length or a position out of range.
        """
        positions = np.asarray(indices)
        if positions.dtype == bool:
            if positions.shape != (len(self),):
                raise ValueError(f"`indices` as a mask must have shape ({len(self)},), got {positions.shape}; make it from this split.")
            positions = np.flatnonzero(positions)
        positions = positions.astype(np.int64)
        if positions.size and not 0 <= positions.min() <= positions.max() < len(self):
            raise ValueError(
                f"`indices` must be in 0..{len(self) - 1}, got {positions.min()}..{positions.max()}; check them against `len`."
            )
        memo = {"digests": self._memo["digests"][positions]} if "digests" in self._memo else {}
        return replace(self, rows=self.rows.select(positions, keep_in_memory=True), _memo=memo)

    def task(self, column: str, *, class_names: Sequence[str] | None = None) -> Split:
        """Make another text column the class: the same images, another question.

        Args:
            column: one of `attributes`.
            class_names: the classes and their order; by default the sorted values of the column.

        Raises:
            ValueError: for a column that is absent or has gaps, or values outside `class_names`.
        """
        values = self.column(column)
        if not all(isinstance(value, str) and value for value in values):
            raise ValueError(
                f"column {column!r} of `{self.name}` must hold text in every row, got gaps; choose from {list(self.attributes)}."
            )
        names = tuple(class_names) if class_names is not None else tuple(sorted(set(values)))
        return self._relabel(encode(values, names, f"{self.name}:{column}"), names, f"{self.name}:{column}")

    def _relabel(self, labels: np.ndarray, class_names: tuple[str, ...], name: str) -> Split:
        table = pa.concat_tables(self.rows.with_format("arrow").iter(batch_size=10_000))
        rows = as_dataset(table.set_column(table.column_names.index("label"), "label", pa.chunked_array([pa.array(labels, pa.int64())])))
        memo = {key: self._memo[key] for key in ("digests",) if key in self._memo}
        return replace(self, rows=rows, class_names=class_names, name=name, _memo=memo)

    def with_class_order(self, class_names: Sequence[str]) -> Split:
        """Renumber the labels after another order of the same classes.

        Args:
            class_names: the classes of this split in the order wanted.

        Raises:
            ValueError: for another set of classes.
        """
        names = tuple(class_names)
        if names == self.class_names:
            return self
        if sorted(names) != sorted(self.class_names):
            raise ValueError(
                f"`class_names` must be the classes of `{self.name}`, {list(self.class_names)}, got {list(names)}; change one of them."
            )
        places = np.array([names.index(name) for name in self.class_names])
        return self._relabel(places[self.labels], names, self.name)

    def concat(self, *others: Split, name: str | None = None) -> Split:
        """Put splits after one another; their classes must be the same set, in this split's order.

        Columns that one of them lacks, groups among them, are left out.

        Args:
            others: splits with the same classes; their labels are renumbered where their order differs.
            name: of the result; by default the names joined with `+`.

        Raises:
            ValueError: for unequal class sets or ids that occur twice.
        """
        parts = [self, *(other.with_class_order(self.class_names) for other in others)]
        name = name or "+".join(part.name for part in parts)
        check_unique([value for part in parts for value in part.column("id")], name)
        columns = [column for column in self.rows.column_names if all(column in part.rows.column_names for part in parts)]
        rows = concatenate_datasets([part.rows.select_columns(columns) for part in parts])
        known = all("digests" in part._memo for part in parts)
        memo = {"digests": np.concatenate([part._memo["digests"] for part in parts])} if known else {}
        return Split(rows, self.class_names, name, sum(part.skipped for part in parts), memo)

    @property
    def digests(self) -> np.ndarray:
        """Hash of each image's encoded bytes (N, 16), uint8; computed once."""
        if "digests" not in self._memo:
            self._memo["digests"] = digests(self.rows, name=self.name)
        return self._memo["digests"]

    @property
    def fingerprint(self) -> str:
        """Hash of what a model can see: image bytes, labels, class names, domains and captions, in order; never of a name, id or path."""
        if "fingerprint" not in self._memo:
            state = hashlib.blake2b(self.digests.tobytes(), digest_size=16)
            for part in (self.labels.tolist(), self.class_names, self.column("domain"), self.column("caption")):
                state.update(repr(part).encode())
            self._memo["fingerprint"] = state.hexdigest()
        return self._memo["fingerprint"]

    def pixels(self, size: int | None = None, *, progress: bool = False) -> np.ndarray:
        """Decode all images once; later calls, also of later processes, map the stored array.

        Args:
            size: shorter side after bicubic resizing, and side of the centre square that is kept; None for the images' own size,
                which must then be the same for all.
            progress: whether to show a bar on standard error while decoding.

        Returns:
            RGB pixels (N, 3, H, W), uint8 in 0..255, mapped copy-on-write.

        Raises:
            ValueError: naming the first bad images, or two sizes where `size` is None and they differ.
        """
        if size is not None and not 1 <= size <= MAX_SIZE:
            raise ValueError(
                f"`size` must be at least 1 pixel and at most {MAX_SIZE}, got {size}; give the side the model wants, such as 32 or 224."
            )
        if not len(self):
            raise ValueError(f"`{self.name}` must hold at least one image, got none; check the selection.")
        key = f"pixels {size}"
        if key in self._memo:
            return self._memo[key]
        pixels = decode_all(
            self.rows,
            size,
            name=self.name,
            progress=progress,
            key=lambda: hashlib.blake2b(self.digests.tobytes(), digest_size=16).hexdigest(),
        )
        self._memo[key] = pixels
        return pixels

    def validate(self, *, progress: bool = False) -> None:
        """Decode every image and keep none, so that a bad one is named before hours of work.

        Raises:
            ValueError: naming the first bad images and how many there are.
        """
        refuse(self.rows, find_bad(self.rows, name=self.name, progress=progress), self.name)

    @property
    def metadata(self) -> dict[str, np.ndarray]:
        """File facts, which no model of the pixels sees but which may tell the domains apart.

        Returns:
            Arrays (N,): `codec` str, `bytes`, `width`, `height` int64, JPEG `quality` float64 (NaN for other codecs), `subsampling` str
            (empty for other codecs).
        """
        if "metadata" not in self._memo:
            items = collect(self.rows, facts)
            refuse(self.rows, [(at, item) for at, item in enumerate(items) if not isinstance(item, ImageFacts)], self.name)
            self._memo["metadata"] = fact_columns([item for item in items if isinstance(item, ImageFacts)])
        return dict(self._memo["metadata"])


def load_split(
    spec: str | Path,
    *,
    domain: str | None = None,
    class_names: Sequence[str] | None = None,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    layout: str | None = None,
    skip_bad: bool = False,
    lazy: bool = False,
    progress: bool = False,
) -> Split:
    """Read labelled images from any known source; `docs/data.md` describes the formats.

    Args:
        spec: a parquet file, a folder or glob of them; an image folder whose folders name domain, class and split; a table of image files
            (`.csv`, `.jsonl`); WebDataset shards (`*.tar`, glob or braces); arrays (`.npy`, `.npz`); what `save_to_disk` of `datasets` has
            written; the CIFAKE folders; or `hf:NAME[:CONFIG][@SPLIT]`, the only one that uses the network.
        domain: `real` or `synthetic`: of all images where the source does not say, else the one to keep.
        class_names: the classes and their order, for sources with bare integer labels or to fix one order for several sources.
        split: `train`, `test`, ... where the source holds several.
        columns: our column name -> the source's; also `class`, of names or integers, and `group`.
        layout: what each level of folders says, such as `generator/class/domain`, where their names do not tell it.
        skip_bad: decode every image now and leave out the bad ones, counted in `skipped`, instead of raising when they are needed.
        lazy: leave the images of uncompressed shards in them until they are decoded: slower out of order, in little memory.
        progress: whether to show a bar on standard error while checking.

    Returns:
        The split. Its images are not decoded, nor checked unless `skip_bad`.

    Raises:
        FileNotFoundError: for a source that is not there or holds nothing.
        ValueError: for anything wrong in it, in one sentence that names the file or column and the remedy.
        distill.errors.DistillError: for a hub that cannot be reached.
    """
    named = columns or {}
    options = ReadOptions(split, named.get("image"), lazy, layout, class_names, named.get("class"))
    source = read(str(spec), options)
    _warn_of_a_name(str(spec), source, domain)
    rows, names = assemble(source, domain=domain, class_names=class_names, columns=columns)
    loaded = Split(rows, names, source.name)
    if not skip_bad:
        return loaded
    bad = find_bad(rows, name=source.name, progress=progress)
    if not bad:
        return loaded
    reasons = ", ".join(f"{row['id']} ({reason})" for row, reason in ((rows[index], reason) for index, reason in bad[:5]))
    logger.warning(
        "skipped %d of %d images of %s that cannot be used: %s%s",
        len(bad),
        len(rows),
        source.name,
        reasons,
        ", ..." if len(bad) > 5 else "",
    )
    kept = loaded.select(np.setdiff1d(np.arange(len(rows)), [index for index, _ in bad]))
    with_images = [names[label] for label in np.unique(loaded.labels)]
    encode([names[label] for label in kept.labels], with_images, source.name)  # a class may have lost its last image
    return replace(kept, skipped=len(bad))


def _warn_of_a_name(spec: str, source: Source, domain: str | None) -> None:
    """Warn when a source that says no domain is called like the other one."""
    domain_of_name = DOMAINS.get(Path(spec).name.lower())
    if (
        "domain" not in source.table.column_names
        and domain_of_name is not None
        and domain is not None
        and domain_of_name != check_domain(domain)
    ):
        logger.warning("`%s` is read as %s images, and is called %r: were --real and --synthetic exchanged?", spec, domain, Path(spec).name)


def _plain(name: str) -> str:
    """Write a class name without what people write differently: capitals, accents in two ways, underscores, hyphens and spaces."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", name)).strip().casefold()


def require_same_classes(*splits: Split) -> None:
    """Refuse splits whose images are not of the same classes, numbered the same way.

    Raises:
        ValueError: naming the classes that one has and another lacks, or two orders that differ.
    """
    classes_of_split = [{split.class_names[label] for label in np.unique(split.labels)} for split in splits]
    for split, classes in zip(splits[1:], classes_of_split[1:], strict=True):
        if only := sorted(classes_of_split[0] ^ classes):
            sides = [f"{name!r} only in `{splits[0].name if name in classes_of_split[0] else split.name}`" for name in only[:5]]
            alike = len({_plain(name) for name in classes_of_split[0]} ^ {_plain(name) for name in classes}) < len(only)
            remedy = "write them alike, capitals and underscores too" if alike else "add or remove these classes"
            raise ValueError(f"`{splits[0].name}` and `{split.name}` must have the same classes, got {', '.join(sides)}; {remedy}.")
        if split.class_names != splits[0].class_names:
            raise ValueError(
                f"`{splits[0].name}` and `{split.name}` must have the same class names in the same order, got "
                f"{list(splits[0].class_names)} and {list(split.class_names)}; load both with the same `class_names`."
            )
