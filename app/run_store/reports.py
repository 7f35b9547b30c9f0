"""Find runs and read what they hold: reports, progress, probe results, thumbnails; never outside the runs folder, never torch."""

from __future__ import annotations

import io
import json
import math
import shlex
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow.parquet as pq
from PIL import Image
from pydantic import ValidationError

from app.run_store import jobs
from diagnose.schema import REPORT_SCHEMA_VERSION, ProbeRecord, Report
from probes.result import DiagnosticError, ProbeResult

State = Literal["done", "going", "report only", "empty"]

SIGNS = ("report.json", "metrics.jsonl", "config.toml", "done", "students", jobs.STATE)
"""A folder that holds one of these is a run."""

MAX_REPORT_BYTES = 64 * 2**20
MAX_THUMBNAIL_BYTES = 2**20
MAX_THUMBNAIL_PIXELS = 1024 * 1024
MAX_THUMBNAILS = 2000
THUMBNAIL_COLUMNS = ("id", "image", "domain", "label", "class_name")
EDITED_COLUMNS = ("id", "edit", "image", "partner", "domain", "class_name", "telling")


@dataclass(frozen=True)
class Run:
    """One run folder: its name in the picker, its real path, and the runs folder it must stay below.

    Args:
        name: folder name, unique below `root`.
        path: resolved path of the run folder.
        root: resolved runs folder.
    """

    name: str
    path: Path
    root: Path

    @property
    def state(self) -> State:
        """Say how far the run is: `done`, still `going`, a `report only`, or `empty`."""
        if (self.path / "done").is_file():
            return "done"
        if (self.path / "metrics.jsonl").is_file() or jobs.is_alive(jobs.read_job(self.path)):
            return "going"
        return "report only" if (self.path / "report.json").is_file() else "empty"

    @property
    def shown(self) -> str:
        """Return the path for a command: relative where the run lies below the working directory."""
        return str(self.path.relative_to(Path.cwd())) if self.path.is_relative_to(Path.cwd()) else str(self.path)

    @property
    def has_students(self) -> bool:
        """Tell whether a trained student lies in the folder, without which nothing can be diagnosed here."""
        return any((self.path / "students").glob("*/student.safetensors"))

    @property
    def diagnose_command(self) -> str:
        """Return the command that makes the report, its arrays and thumbnails."""
        return shlex.join(["synthgap", "diagnose", self.shown])

    @property
    def resume_command(self) -> str:
        """Return the command that goes on with an interrupted training."""
        return shlex.join(["synthgap", "train", f"{self.shown}/config.toml", "--out", self.shown, "--resume"])


def is_run(folder: Path) -> bool:
    """Tell whether a folder holds any sign of a run."""
    return any((folder / sign).exists() for sign in SIGNS)


def find_runs(root: Path | str) -> list[Run]:
    """List the runs below a folder, newest first; the folder may itself be one run.

    Links that lead out of the folder are not followed.

    Args:
        root: a runs folder, or one run.

    Returns:
        Runs, newest first; empty where the folder is missing or holds none.
    """
    root = Path(root).expanduser().resolve()
    if not root.is_dir():
        return []
    if is_run(root):
        return [Run(root.name, root, root)]
    runs = []
    for child in root.iterdir():
        path = child.resolve()
        if not child.name.startswith(".") and path.is_dir() and path.is_relative_to(root) and is_run(path):
            runs.append(Run(child.name, path, root))
    return sorted(runs, key=lambda run: (-_latest(run.path), run.name))


def _latest(folder: Path) -> float:
    return max(((folder / sign).stat().st_mtime for sign in SIGNS if (folder / sign).exists()), default=0.0)


def inside(run: Run, *parts: str) -> Path:
    """Join and resolve a path that must lie in the run's folder.

    Raises:
        DiagnosticError: when it leads out of the folder.
    """
    path = run.path.joinpath(*parts).resolve()
    if not path.is_relative_to(run.path):
        raise DiagnosticError(f"`path` must lie inside the run, got {'/'.join(parts)}; run `synthgap diagnose` again.")
    return path


def _stamp(path: Path) -> tuple[str, int, int]:
    """Key a file by its content's outer signs, so that a changed file is read anew."""
    info = path.stat()
    return str(path), info.st_mtime_ns, info.st_size


def load_report(run: Run) -> Report:
    """Read `report.json`.

    Raises:
        FileNotFoundError: when the run has no report yet.
        DiagnosticError: when the report is of another schema version, too large, or cannot be parsed.
    """
    path = inside(run, "report.json")
    if not path.is_file():
        raise FileNotFoundError(f"`run` must hold a report, got {run.name} without report.json; diagnose it first.")
    return _load_report(_stamp(path))


@lru_cache(maxsize=16)
def _load_report(stamp: tuple[str, int, int]) -> Report:
    path = Path(stamp[0])
    if stamp[2] > MAX_REPORT_BYTES:
        raise DiagnosticError(f"`report.json` must be at most {MAX_REPORT_BYTES} bytes, got {stamp[2]}; diagnose the run again.")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise DiagnosticError(f"`report.json` must be whole JSON, got {error}; diagnose the run again.") from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != REPORT_SCHEMA_VERSION:
        raise DiagnosticError(
            f"`schema_version` of report.json must be {REPORT_SCHEMA_VERSION}, got {version!r}; diagnose the run again with this version."
        )
    try:
        return Report.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DiagnosticError(
            f"`report.json` must follow the report's schema, got {error.error_count()} faults, the first at `{where}`: "
            f"{first['msg']}; diagnose the run again."
        ) from error


def load_progress(run: Run) -> dict[str, list[dict[str, float]]]:
    """Read `metrics.jsonl` into rows a student, in order; half-written or foreign lines are passed over.

    Returns:
        student -> rows of numbers (`epoch`, `loss`, `zero_shot_real`, …); empty where there is no file.
    """
    path = inside(run, "metrics.jsonl")
    if not path.is_file():
        return {}
    students: dict[str, list[dict[str, float]]] = defaultdict(list)
    if path.stat().st_size > MAX_REPORT_BYTES:
        return {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            student = row.pop("student")
            numbers = {name: float(value) for name, value in row.items() if isinstance(value, int | float)}
        except (ValueError, AttributeError, KeyError, TypeError, OverflowError, RecursionError):
            continue
        students[str(student)].append({name: value for name, value in numbers.items() if math.isfinite(value)})
    return dict(students)


def records(report: Report, probe: str) -> dict[str, ProbeRecord]:
    """Return the records of one probe by subject, in the order of the report's students.

    Args:
        report: the report of the run.
        probe: name of the probe.
    """
    order = [report.teacher.name, *(student.name for student in report.students)]
    by_subject = {record.subject: record for record in report.probes if record.probe == probe}
    return {name: by_subject[name] for name in [*order, *(name for name in by_subject if name not in order)] if name in by_subject}


def load_probe(run: Run, record: ProbeRecord) -> ProbeResult:
    """Read the whole result (with arrays) behind a record of the report.

    Args:
        run: the run.
        record: of the report.

    Raises:
        FileNotFoundError: when the files are not beside the report.
        DiagnosticError: when the probe failed, or its files are broken or lie outside the run.
    """
    if record.status == "failed":
        raise DiagnosticError(f"`{record.probe}` of {record.subject} must have run, got a failure: {record.error}; diagnose the run again.")
    name = record.path.removesuffix(".json") or f"probes/{record.probe}/{record.subject}"
    stem = inside(run, name)
    path = stem.parent / f"{stem.name}.json"
    for part in (path, stem.parent / f"{stem.name}.npz"):
        if not part.is_file():
            raise FileNotFoundError(
                f"`{record.probe}` of {record.subject} must be saved in the run, got no {name}{part.suffix}; diagnose the run again."
            )
    return _load_probe(_stamp(path))


@lru_cache(maxsize=64)
def _load_probe(stamp: tuple[str, int, int]) -> ProbeResult:
    return ProbeResult.load(stamp[0].removesuffix(".json"))


def load_thumbnails(run: Run) -> pd.DataFrame:
    """Read the bounded sample of images, indexed by image id.

    Returns:
        Columns `image` (PNG bytes, checked), `domain`, `label`, `class_name`; at most `MAX_THUMBNAILS` rows.

    Raises:
        FileNotFoundError: when the run has no `thumbnails.parquet`.
        DiagnosticError: when it cannot be read or lacks a column.
    """
    table = _images(run, "thumbnails.parquet", THUMBNAIL_COLUMNS)
    return table.drop_duplicates("id").set_index("id")


def load_edited(run: Run) -> pd.DataFrame:
    """Read the images before (`edit` is `none`) and after the edits of `interventions`.

    Returns:
        Columns `EDITED_COLUMNS`, `image` as checked PNG bytes; at most `MAX_THUMBNAILS` rows.

    Raises:
        FileNotFoundError: when the run has no `edited.parquet`.
        DiagnosticError: when it cannot be read or lacks a column.
    """
    return _images(run, "edited.parquet", EDITED_COLUMNS)


def _images(run: Run, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    path = inside(run, name)
    if not path.is_file():
        raise FileNotFoundError(f"`run` must hold {name}, got {run.name} without it; diagnose it where the images are.")
    return _load_images(_stamp(path), columns)


@lru_cache(maxsize=8)
def _load_images(stamp: tuple[str, int, int], columns: tuple[str, ...]) -> pd.DataFrame:
    if stamp[2] > MAX_REPORT_BYTES:
        raise DiagnosticError(f"`{Path(stamp[0]).name}` must be at most {MAX_REPORT_BYTES} bytes, got {stamp[2]}; diagnose the run again.")
    try:
        with pq.ParquetFile(stamp[0]) as file:
            part = next(file.iter_batches(batch_size=MAX_THUMBNAILS, columns=list(columns)), None)
        table = pd.DataFrame(columns=list(columns)) if part is None else part.to_pandas()
        table = table[list(columns)].astype({"id": str})
    except Exception as error:  # pyarrow raises its own family, and KeyError, for what a damaged file holds
        raise DiagnosticError(
            f"`{Path(stamp[0]).name}` must hold the columns {', '.join(columns)}, got {' '.join(str(error).split())[:300]}; diagnose the run again."
        ) from error
    return table.loc[[bool(_is_small_image(content)) for content in table["image"]]] if len(table) else table


def _is_small_image(content: object) -> bool:
    if not isinstance(content, bytes) or len(content) > MAX_THUMBNAIL_BYTES:
        return False
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            return image.width * image.height <= MAX_THUMBNAIL_PIXELS
    except (OSError, ValueError, Image.DecompressionBombError):
        return False


def count_words(counts: Mapping[str, int]) -> str:
    """Write a probe's counts as words, e.g. `5,000 real images, 5,000 synthetic images, 10 classes`."""
    words = {"sampled_per_domain": "images of each kind drawn at random", "available": "images to choose from"}
    words |= {"within": "classes within which it is asked", "by_epoch": "images at each epoch"}
    words |= {"blocks": "blocks of images left out in turn to get the intervals"}
    parts = []
    for name, value in ((name, value) for name, value in counts.items() if value):
        what, _, rest = name.partition("/")
        text = words.get(rest or what, f"{rest} {what}" if rest else what)
        parts.append(f"{value:,} {text.replace('_', ' ')}")
    return ", ".join(parts)
