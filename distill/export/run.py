"""Export a student: safetensors with a description, ONNX, or a folder that plain open_clip loads."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.export.trained_student import TrainedStudent
from distill.models.checkpoint import load_student, save_student

ABOUT = "export.json"


def export_student(checkpoint: Path | str, out: Path, *, kind: str, teacher: str | None = None) -> dict[str, Any]:
    """Write a student for other tools into a new folder.

    Args:
        checkpoint: a student of ours, `student.safetensors`.
        out: folder to make; nothing is left there when the export is refused.
        kind: one of `FORMATS`.
        teacher: whose text tower joins the student, for `open_clip`; by default that of the run the checkpoint lies in.

    Returns:
        What `export.json` in the folder says: the facts of the student, and what was checked.

    Raises:
        ValueError: for an unknown format, or a student that it cannot hold.
        FileExistsError: when `out` is there already.
        FileNotFoundError, DistillError: for a checkpoint or teacher that cannot be read, or an export that does not give the student's numbers.
    """
    if kind not in FORMATS:
        raise ValueError(f"`--format` must be one of {', '.join(FORMATS)}, got {kind!r}; choose one.")
    encoder, description = load_student(checkpoint)
    student = TrainedStudent(encoder, description, Path(checkpoint))
    with new_folder(out) as folder:
        about = {**student.facts(), "format": kind, **FORMATS[kind](student, folder, teacher)}
        (folder / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return about


def _safetensors(student: TrainedStudent, folder: Path, teacher: str | None) -> dict[str, Any]:
    """Write the weights once more, and what a reader in any language needs beside them."""
    facts = student.facts()
    added = {key: facts[key] for key in ("input", "inside", "output", "params")}
    save_student(folder / "student.safetensors", student.encoder, {**student.description, **added})
    return {"files": ["student.safetensors"]}


def _onnx(student: TrainedStudent, folder: Path, teacher: str | None) -> dict[str, Any]:
    from distill.export.to_onnx import write_onnx

    return write_onnx(student, folder)


def _open_clip(student: TrainedStudent, folder: Path, teacher: str | None) -> dict[str, Any]:
    from distill.export.to_open_clip import write_open_clip

    return write_open_clip(student, folder, teacher or teacher_of_run(student.path))


FORMATS: dict[str, Callable[[TrainedStudent, Path, str | None], dict[str, Any]]] = {
    "safetensors": _safetensors,
    "onnx": _onnx,
    "open_clip": _open_clip,
}


def teacher_of_run(checkpoint: Path) -> str:
    """Return the teacher of the run that a checkpoint lies in, as a spec of `distill.models.teacher.load_teacher`.

    Raises:
        ValueError: when it lies in no run.
    """
    from distill.training.config import read_experiment

    config = checkpoint.resolve().parent.parent.parent / "config.toml"
    if not config.is_file():
        raise ValueError(f"`--teacher` must be given for a checkpoint outside of a run, got {checkpoint}; name the teacher it learnt from.")
    spec = read_experiment(config).teacher.model
    if spec == "pocket":
        from distill.packs import pocket

        return str(pocket.teacher_folder())
    return spec


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder under a temporary name, which is renamed to `out` when the block ends without an error.

    Raises:
        FileExistsError: when `out` is there already and is no empty folder.
        DistillError: when it cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"`--out` must be a new folder, got {out}; choose another.")
    temporary: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        yield temporary
        temporary.chmod(0o755)
        os.replace(temporary, out)
    except OSError as error:
        if error.errno is None:
            raise  # a sentence of ours about something else
        raise DistillError(f"{out} must be writable, got {error.strerror or error}; free space or choose another folder.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
