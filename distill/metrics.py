"""The log of a run: one JSON row for each student and epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from filelock import FileLock

from distill.atomic import write_then_rename


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
    """Read the rows of a `metrics.jsonl`, leaving out what is not whole; an absent file has none."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "student" in row and "epoch" in row:
            rows.append(row)
    return rows
