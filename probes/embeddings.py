"""The table of one encoder's embeddings: one row an image, both domains together, the same ids from data to plot."""

from __future__ import annotations

import hashlib
import json
import mmap
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from probes.eval_mode import eval_mode
from probes.result import DiagnosticError
from probes.text_space import TextSpace

if TYPE_CHECKING:
    import pyarrow as pa

TABLE_SCHEMA_VERSION = 1
DOMAINS = ("real", "synthetic")
BLOCK_ROWS = 8192
"""Rows read at once: 16 MiB of 512 numbers, enough for a matrix product to run at full speed."""
_ROWS_IN_CACHE = 128
"""Rows brought to length one at once: half a megabyte in float64, which stays in the cache from the first pass to the last."""


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """Embeddings of N images by one encoder, with what is known of each image.

    Args:
        ids: (N,) str, unique; the image's id in the data set.
        embeddings: (N, D) float32; L2-normalised on construction unless `normalize=False`.
        labels: (N,) int64, class index, at least 0.
        domain: (N,) str, `real` or `synthetic`.
        name: the encoder's name, as it stands in a report.
        metadata: file facts, each (N,): `codec` (str), `bytes`, `width`, `height`, `quality` (numbers).
        text_space: of the encoder's own text tower, where it is not its teacher's; not stored by `save`. None: the teacher's texts apply.
        normalize: divide each row by its length; a row without length is refused.

    Raises:
        ValueError: for shapes that do not fit, doubled ids, an unknown domain, embeddings that are not finite or have no length.
    """

    ids: np.ndarray
    embeddings: np.ndarray
    labels: np.ndarray
    domain: np.ndarray
    name: str
    metadata: Mapping[str, np.ndarray] = field(default_factory=dict)
    text_space: TextSpace | None = None
    normalize: InitVar[bool] = True

    def __post_init__(self, normalize: bool) -> None:
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        put("ids", np.asarray(self.ids, dtype=str))
        put("labels", np.asarray(self.labels))
        put("domain", np.asarray(self.domain, dtype=str))
        put("embeddings", np.asanyarray(self.embeddings))
        put("metadata", MappingProxyType({name: np.asarray(column) for name, column in (self.metadata or {}).items()}))
        self._check_shapes()
        put("labels", self.labels.astype(np.int64, copy=False))
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinity, which is refused below
            put("embeddings", self.embeddings.astype(np.float32, copy=False))
        refuse_unusable(self.embeddings, self.ids)
        if normalize:
            put("embeddings", self.unit())

    def _check_shapes(self) -> None:
        if self.embeddings.ndim != 2:
            raise ValueError(f"`embeddings` must have shape (N, D), got {self.embeddings.shape}; add or flatten an axis.")
        if self.embeddings.dtype.kind not in "fiu":
            raise ValueError(f"`embeddings` must be real numbers, got {self.embeddings.dtype}; convert them to float32.")
        rows = len(self.embeddings)
        columns = {
            "ids": self.ids,
            "labels": self.labels,
            "domain": self.domain,
            **{f"metadata[{k!r}]": v for k, v in self.metadata.items()},
        }
        for name, column in columns.items():
            if column.shape != (rows,):
                raise ValueError(
                    f"`{name}` must have shape ({rows},) like the rows of `embeddings`, got {column.shape}; give one entry an image."
                )
        if rows and (self.labels.dtype.kind not in "iu" or self.labels.min() < 0):
            raise ValueError(
                f"`labels` must be integers of at least 0, got {self.labels.dtype} from {self.labels.min()}; give class indices."
            )
        unknown = ~((self.domain == DOMAINS[0]) | (self.domain == DOMAINS[1]))
        if unknown.any():
            raise ValueError(f"`domain` must be 'real' or 'synthetic', got {min(self.domain[unknown].tolist())!r}; rename the domain.")
        ordered = np.sort(self.ids)
        if (ordered[1:] == ordered[:-1]).any():
            unique, count = np.unique(ordered, return_counts=True)
            doubled = unique[count > 1][:3].tolist()
            raise ValueError(f"`ids` must be unique, got {rows - len(unique)} repeated, the first {doubled}; give every image its own id.")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return int(self.embeddings.shape[1])

    def classifier(self, class_weights: np.ndarray | None) -> np.ndarray | None:
        """Return the classifier weights (D, C) that this encoder is scored with: those of its own text tower, else the teacher's.

        Args:
            class_weights: (D, C) of the teacher's texts, or None.
        """
        return class_weights if self.text_space is None else self.text_space.class_weights

    def unit(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the embeddings with every row of length one, float32, whatever the table was built from.

        Args:
            rows: a mask (N,), row numbers (M,) or a slice; by default all of them. Rows that are not asked for are not read.

        Returns:
            (M, D) float32.
        """
        chosen = np.asarray(self.embeddings[rows])
        unit = np.empty(chosen.shape, dtype=np.float32)
        for start in range(0, len(chosen), _ROWS_IN_CACHE):
            part = chosen[start : start + _ROWS_IN_CACHE].astype(np.float64)
            unit[start : start + _ROWS_IN_CACHE] = part / np.sqrt(np.einsum("nd,nd->n", part, part))[:, None]
        return unit

    def blocks(self, size: int = BLOCK_ROWS) -> Iterator[tuple[slice, np.ndarray]]:
        """Go through the table in bounded memory: rows, and their embeddings with every row of length one, (n, D) float32.

        A memory-mapped table gives the pages of each block back, so that a table larger than the memory can be read again and again.

        Args:
            size: rows at once.
        """
        for start in range(0, len(self), size):
            rows = slice(start, min(start + size, len(self)))
            yield rows, self.unit(rows)
            give_back(self.embeddings)

    def select(self, rows: np.ndarray) -> EmbeddingTable:
        """Take rows by a mask or by indices; embeddings are kept as they are.

        Args:
            rows: (N,) bool, or (M,) int.
        """
        return EmbeddingTable(
            ids=self.ids[rows],
            embeddings=self.embeddings[rows],
            labels=self.labels[rows],
            domain=self.domain[rows],
            name=self.name,
            metadata={name: column[rows] for name, column in self.metadata.items()},
            text_space=self.text_space,
            normalize=False,
        )

    def save(self, folder: Path | str, *, overwrite: bool = False) -> Path:
        """Write `embeddings.npy`, `rows.parquet` and `table.json` into a new folder, made under a temporary name and then renamed.

        Args:
            folder: the table's folder; its parent is made.
            overwrite: replace a table that is already there.

        Raises:
            FileExistsError: when the folder exists and `overwrite` is not set.
            DiagnosticError: when the disk is full or the folder cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = Path(folder)
        if folder.exists() and not overwrite:
            raise FileExistsError(f"`folder` must not exist, got {folder}; load it, choose another, or set overwrite.")
        partial = None
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
            np.save(partial / "embeddings.npy", self.embeddings, allow_pickle=False)
            columns = {"id": self.ids, "label": self.labels, "domain": self.domain}
            columns |= {f"metadata/{name}": column for name, column in self.metadata.items()}
            pq.write_table(pa.table({name: pa.array(column) for name, column in columns.items()}), partial / "rows.parquet")
            about = {"schema_version": TABLE_SCHEMA_VERSION, "name": self.name, "rows": len(self), "dimension": self.dimension}
            (partial / "table.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
            if folder.exists():
                folder.rename(partial / "replaced")
                (whole := partial / "whole").mkdir()
                for name in ("embeddings.npy", "rows.parquet", "table.json"):
                    (partial / name).rename(whole / name)
                whole.rename(folder)
            else:
                partial.chmod(0o755)
                partial.rename(folder)
        except OSError as error:
            raise DiagnosticError(
                f"{folder} must be writable, got {error.strerror or error}; free space or choose another folder."
            ) from error
        finally:
            if partial is not None:
                shutil.rmtree(partial, ignore_errors=True)
        return folder

    @classmethod
    def load(cls, folder: Path | str) -> EmbeddingTable:
        """Read what `save` wrote; the embeddings stay on disk and are memory-mapped.

        Raises:
            FileNotFoundError: when there is no whole table in the folder.
            DiagnosticError: when it is of another schema version or its files do not fit each other.
        """
        folder = Path(folder)
        if not (folder / "table.json").is_file():
            raise FileNotFoundError(f"`folder` must hold a saved embedding table, got {folder} (no table.json); embed the images first.")
        try:
            return _whole(folder)
        except DiagnosticError:
            raise
        except Exception as error:  # json, numpy and Arrow raise many kinds for a damaged file
            line = " ".join(repr(error).split())[:300]
            raise DiagnosticError(f"{folder} must be a whole embedding table, got {line}; delete it and embed the images again.") from error


def _whole(folder: Path) -> EmbeddingTable:
    """Read the three files of a table; asks for the number of rows before any is read."""
    import pyarrow.parquet as pq

    about = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    if about["schema_version"] != TABLE_SCHEMA_VERSION:
        raise DiagnosticError(
            f"`schema_version` of {folder} must be {TABLE_SCHEMA_VERSION}, got {about['schema_version']}; embed the images again."
        )
    embeddings = np.load(folder / "embeddings.npy", mmap_mode="r", allow_pickle=False)
    if not isinstance(embeddings, np.ndarray) or pq.read_metadata(folder / "rows.parquet").num_rows != len(embeddings):
        raise ValueError("another number of rows than embeddings")
    rows = pq.read_table(folder / "rows.parquet")
    rows.validate(full=True)
    kept = [name for name in rows.column_names if name.startswith("metadata/")]
    metadata = {name.removeprefix("metadata/"): _as_array(rows[name]) for name in kept}
    ids, labels, domain = _as_array(rows["id"]), rows["label"].to_numpy(), _as_array(rows["domain"])
    return EmbeddingTable(ids, embeddings, labels, domain, about["name"], metadata, normalize=False)


def _as_array(column: pa.ChunkedArray) -> np.ndarray:
    """Convert a column to an array (N,), text at its own width, without a Python object for every row at once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_string(column.type):
        return column.to_numpy()
    width = pc.max(pc.utf8_length(column)).as_py() or 1
    values, at = np.empty(len(column), dtype=f"<U{width}"), 0
    for chunk in column.chunks:
        for start in range(0, len(chunk), BLOCK_ROWS):
            part = chunk.slice(start, BLOCK_ROWS)
            values[at : at + len(part)] = part.to_pylist()
            at += len(part)
    return values


def key(weights_hash: str, split_fingerprint: str, preprocessing: str | Mapping[str, Any], dtype: str) -> str:
    """Hash the content that decides an embedding table; names take no part in it.

    Args:
        weights_hash: hash of the encoder's weights.
        split_fingerprint: hash of the images, their ids and their order.
        preprocessing: what happens to an image before the encoder, as text or as plain JSON types.
        dtype: arithmetic of the forward pass, such as `float32`.

    Returns:
        32 hexadecimal digits.
    """
    content = json.dumps([TABLE_SCHEMA_VERSION, weights_hash, split_fingerprint, preprocessing, str(dtype)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def embed(
    encode: Callable[[Any], Any],
    batches: Iterable[Any],
    *,
    ids: Sequence[str],
    labels: Sequence[int],
    domain: Sequence[str],
    name: str,
    metadata: Mapping[str, np.ndarray] | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> EmbeddingTable:
    """Run the encoder once over all images, without gradients and in eval mode, and keep its normalised embeddings.

    Args:
        encode: images (B, 3, H, W) float32 in [0, 1] to embeddings (B, D); a module, a bound method of one, or any callable.
        batches: tensors (B, 3, H, W), uint8 in [0, 255] (divided by 255) or float in [0, 1], in the order of `ids`.
        ids: N image ids.
        labels: N class indices.
        domain: N of `real` or `synthetic`.
        name: the encoder's name.
        metadata: file facts, each (N,).
        device: where the images are sent; the encoder has to be there already.
        progress: called as `progress(done, N)` after each batch.

    Returns:
        The table, rows in the order of `ids`. Modes of the encoder's modules are put back, also after an exception.

    Raises:
        ValueError: when the batches hold another number of images than `ids`, or an embedding is not finite or has no length.
    """
    import torch

    total, done = len(ids), 0
    parts: list[np.ndarray] = []
    with torch.inference_mode(), eval_mode(encode):
        for batch in batches:
            images = batch.to(device)
            images = images.float() / 255 if images.dtype == torch.uint8 else images.float()
            part = encode(images)
            if part.ndim != 2 or len(part) != len(images):
                raise ValueError(
                    f"`encode` must return shape ({len(images)}, D), got {tuple(part.shape)}; pool the tokens to one embedding an image."
                )
            part = part.detach().to("cpu", torch.float32).numpy()
            done += len(part)
            if done > total:
                raise ValueError(f"`batches` must hold {total} images like `ids`, got {done} or more; pass the same split.")
            refuse_unusable(part, np.asarray(ids[done - len(part) : done], dtype=str), what=f"embeddings of {name}")
            parts.append(part)
            if progress is not None:
                progress(done, total)
    if done != total or not parts:
        raise ValueError(f"`batches` must hold {max(total, 1)} images like `ids`, got {done}; pass the same split.")
    return EmbeddingTable(
        np.asarray(ids, dtype=str), np.concatenate(parts), np.asarray(labels), np.asarray(domain, dtype=str), name, metadata or {}
    )


def refuse_unusable(embeddings: np.ndarray, ids: np.ndarray, what: str = "embeddings") -> None:
    """Raise for rows that are not finite or have no length, naming the first ids; reads a memory-mapped array in pieces.

    Args:
        embeddings: (N, D).
        ids: (N,) str.
        what: name of the array in the message.
    """
    for start in range(0, len(embeddings), BLOCK_ROWS):
        rows = np.asarray(embeddings[start : start + BLOCK_ROWS])
        here = ids[start : start + BLOCK_ROWS]
        bad, empty = ~np.isfinite(rows).all(axis=1), ~rows.any(axis=1)
        give_back(embeddings)
        if bad.any():
            raise ValueError(
                f"`{what}` must be finite, got NaN or infinity for {here[bad][:3].tolist()}; check the weights and these images."
            )
        if empty.any():
            raise ValueError(
                f"`{what}` must not be zero, got zeros for {here[empty][:3].tolist()}; check the weights: a zero has no direction."
            )


def give_back(array: np.ndarray) -> None:
    """Let the system take back the pages of a memory-mapped array that have been read; they are on disk."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and getattr(array, "mode", None) == "r" and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
