"""Files that are whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from distill.errors import DistillError

PARTIAL = ".partial-"
"""Prefix of the names of files and folders that are not whole."""


def sweep(folder: Path) -> int:
    """Remove partial files and folders of killed processes, anywhere in a folder that this process alone uses.

    Returns:
        Number of files and folders removed.
    """
    partial = [
        path for path in folder.rglob(f"{PARTIAL}*") if not any(part.startswith(PARTIAL) for part in path.relative_to(folder).parts[:-1])
    ]
    for path in partial:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(partial)


def write_then_rename(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under a temporary name in its folder and rename it, so that no reader sees half of it.

    Args:
        path: the file; its folder is made.
        write: takes the open binary file and writes its content.

    Raises:
        DistillError: when the disk is full or the folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f"{PARTIAL}{path.name}-", dir=path.parent)
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
