"""The log of a run: one JSON row for each student and epoch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from filelock import FileLock

from distill.system.atomic_files import write_then_rename
from distill.system.untrusted_text import MAX_TEXT_BYTES


class MetricsLog:
    """Rows of one student in `metrics.jsonl`; a row for an epoch that was logged before replaces it and what followed.

    Args:
        path: the file shared by all students of a run.
        student: whose rows are written.
    """

    def __init__(self, path: Path, student: str) -> None:
        self.path = path
        self.student = student

    def write(self, row: dict[str, Any]) -> None:
        """Add a row, dropping this student's rows from that epoch on: a killed and resumed run leaves each epoch once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):  # students that train at once share the file
            rows = [old for old in read_metrics(self.path) if old["student"] != self.student or old["epoch"] < row["epoch"]]
            text = "".join(json.dumps(entry) + "\n" for entry in [*rows, row])
            write_then_rename(self.path, lambda file: file.write(text.encode()))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a `metrics.jsonl`, leaving out what is not whole or no number; an absent file has none.

    Raises:
        ValueError: for a file of more than `MAX_TEXT_BYTES`.
    """
    if not path.is_file():
        return []
    if (size := path.stat().st_size) > MAX_TEXT_BYTES:
        raise ValueError(f"{path} must be a log of at most {MAX_TEXT_BYTES >> 20} MiB, got {size >> 20}; remove it.")
    rows = (_row(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return [row for row in rows if row is not None]


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
        if not isinstance(row["student"], str) or type(row["epoch"]) is not int:
            return None
        return row if all(math.isfinite(value) for name, value in row.items() if name != "student") else None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
