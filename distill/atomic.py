"""Files that are whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from distill.errors import DistillError


def write_then_rename(path: Path, write: Callable) -> None:
    """Write a file under a temporary name in its folder and rename it, so that no reader sees half of it.

    Args:
        path: the file; its folder is made.
        write: is given the open binary file.

    Raises:
        DistillError: when the disk is full or the folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise DistillError(
            f"{path} must be writable, got {error.strerror or error}; free space or choose another folder, then resume: what was saved before is whole."
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
