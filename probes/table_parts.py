"""A table made in parts, by one process or many, in any order: a part is whole or not there, and all parts make one table."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from filelock import FileLock

from probes.embeddings import TABLE_SCHEMA_VERSION, refuse_unusable
from probes.result import DiagnosticError

_PART = re.compile(r"part-(\d{12})-(\d{12})\.npy")


class TableParts:
    """Parts of the table of N images, in a folder beside the table's; they stay when a process is killed.

    Args:
        table: folder the whole table will have.
        rows: N.
        made_of: whatever decides the embeddings, as text: parts that were made of something else are refused.

    Raises:
        FileExistsError: when the table is there already.
        DiagnosticError: when there are parts made of something else.
    """

    def __init__(self, table: Path, *, rows: int, made_of: str) -> None:
        if table.exists():
            raise FileExistsError(f"`out` must be a new folder, got {table}; choose another.")
        self.table, self.rows = table, rows
        self.folder = table.parent / f"{table.name}.parts"
        self.folder.mkdir(parents=True, exist_ok=True)
        about = json.dumps({"made_of": made_of, "rows": rows, "schema_version": TABLE_SCHEMA_VERSION}, sort_keys=True)
        with self._lock():
            known = self.folder / "about.json"
            if not known.is_file():
                _write(known, about.encode())
            elif known.read_text(encoding="utf-8") != about:
                raise DiagnosticError(
                    f"{self.folder} must hold parts of this model and these images, got those of others; delete it or choose another `out`."
                )

    def _lock(self) -> FileLock:
        return FileLock(self.folder / "lock")

    def done(self) -> list[range]:
        """List the rows of the parts that are there, ascending."""
        matches = [_PART.fullmatch(path.name) for path in self.folder.iterdir()]
        return sorted((range(int(match[1]), int(match[2])) for match in matches if match), key=lambda rows: (rows.start, rows.stop))

    def missing(self, wanted: range) -> list[range]:
        """List the rows of `wanted` that no part holds, ascending."""
        left, at = [], wanted.start
        for rows in self.done():
            if rows.stop > at and rows.start < wanted.stop:
                if rows.start > at:
                    left.append(range(at, rows.start))
                at = max(at, rows.stop)
        return [*left, *([range(at, wanted.stop)] if at < wanted.stop else [])]

    def write(self, rows: range, embeddings: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        """Keep a part.

        Args:
            rows: its rows, n of them.
            embeddings: (n, D), brought to length one.
            columns: `id`, `label`, `domain` and file facts `metadata/...`, each (n,).

        Raises:
            ValueError: for embeddings that are not finite or have no length, naming the images.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        refuse_unusable(embeddings, np.asarray(columns["id"]))
        length = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings, dtype=np.float64))
        unit = (embeddings / length[:, None]).astype(np.float32)
        stem = self.folder / f"part-{rows.start:012d}-{rows.stop:012d}"
        table = pa.table({name: pa.array(column) for name, column in columns.items()})
        with _renamed(stem.with_suffix(".parquet")) as path:
            pq.write_table(table, path)
        with _renamed(stem.with_suffix(".npy")) as path, path.open("wb") as file:  # last: a part is there when its .npy is
            np.save(file, unit, allow_pickle=False)

    def join(self, name: str) -> Path | None:
        """Write the table when every row is there, part after part in bounded memory, and delete the parts.

        Several processes may ask at once: one of them writes.

        Args:
            name: the encoder's name.

        Returns:
            The table's folder, or None while rows are missing.
        """
        try:
            with self._lock():
                if self.table.exists():
                    return self.table
                if self.missing(range(self.rows)):
                    return None
                partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self.table.parent))
                try:
                    self._copy(partial, name)
                    partial.chmod(0o755)
                    partial.rename(self.table)
                except FileNotFoundError:
                    raise
                except OSError as error:
                    raise _unwritable(self.table.parent, error) from error
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
                shutil.rmtree(self.folder, ignore_errors=True)
        except FileNotFoundError:  # the folder went while we waited for its lock: another process has just finished
            if not self.table.exists():
                raise
        return self.table

    def _copy(self, target: Path, name: str) -> None:
        import pyarrow.parquet as pq

        dimension, at = 0, 0
        writer: pq.ParquetWriter | None = None
        try:
            with (target / "embeddings.npy").open("wb") as file:
                for rows in self.done():
                    if rows.stop <= at:
                        continue  # from a launch of another number of processes, whose parts overlap
                    stem = self.folder / f"part-{rows.start:012d}-{rows.stop:012d}"
                    unit = np.load(stem.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
                    if at == 0:
                        dimension = unit.shape[1]
                        shape = {"descr": "<f4", "fortran_order": False, "shape": (self.rows, dimension)}
                        np.lib.format.write_array_header_1_0(file, shape)
                    file.write(np.ascontiguousarray(unit[at - rows.start :]).data)
                    table = pq.read_table(stem.with_suffix(".parquet")).slice(at - rows.start)
                    writer = writer or pq.ParquetWriter(target / "rows.parquet", table.schema)
                    writer.write_table(table)
                    at = rows.stop
                file.flush()
                os.fsync(file.fileno())
        finally:
            if writer is not None:
                writer.close()
        about = {"schema_version": TABLE_SCHEMA_VERSION, "name": name, "rows": self.rows, "dimension": dimension}
        (target / "table.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")


class _renamed:  # noqa: N801 - reads as a word in `with`
    """Yield a temporary name beside a file, and rename it when the block ends without an exception."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.{os.getpid()}.partial")

    def __enter__(self) -> Path:
        return self.partial

    def __exit__(self, kind: object, error: object, *_: object) -> None:
        if kind is None:
            self.partial.replace(self.path)
            return
        self.partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(self.path.parent, error) from error


def _unwritable(folder: Path, error: OSError) -> DiagnosticError:
    return DiagnosticError(
        f"{folder} must be writable, got {error.strerror or error}; free space or choose another folder, then start again."
    )


def _write(path: Path, content: bytes) -> None:
    with _renamed(path) as partial:
        partial.write_bytes(content)
