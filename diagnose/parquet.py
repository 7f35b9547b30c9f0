"""Write a table of images and words so that nobody reads half a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_table(columns: Mapping[str, Sequence[Any]], path: Path | str) -> Path:
    """Write columns as parquet under a temporary name and then rename it.

    Args:
        columns: name -> values of one type, all of one length: text, bytes, whole numbers or booleans.
        path: the file; its folder is made.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), bytes: pa.binary(), int: pa.int64(), bool: pa.bool_()}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({name: pa.array(values, kinds[type(values[0])] if len(values) else pa.string()) for name, values in columns.items()})
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        pq.write_table(table, partial)
        Path(partial).chmod(0o644)
        return Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)
