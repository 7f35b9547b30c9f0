"""Parquet tables of images and words, written under a temporary name and then renamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.system.atomic_files import write_then_rename


def write_table(columns: Mapping[str, Sequence[Any]], path: Path | str) -> Path:
    """Write columns as parquet under a temporary name and then rename it.

    Args:
        columns: name -> values of one type, all of one length: text, bytes, whole numbers or booleans.
        path: the file; its folder is made.

    Raises:
        DistillError: when the disk is full or the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), bytes: pa.binary(), int: pa.int64(), bool: pa.bool_()}
    path = Path(path)
    table = pa.table({name: pa.array(values, kinds[type(values[0])] if len(values) else pa.string()) for name, values in columns.items()})
    write_then_rename(path, lambda file: pq.write_table(table, file))
    return path
