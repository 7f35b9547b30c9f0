"""Write one array so that nobody reads half a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np


def save_array(array: np.ndarray, path: Path | str) -> Path:
    """Write an array as `.npy` under a temporary name and then rename it.

    Args:
        array: of numbers.
        path: the file; its folder is made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.save(file, array, allow_pickle=False)
        Path(partial).chmod(0o644)
        return Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)
