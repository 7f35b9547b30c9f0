"""Explanations of any picture by the encoders of a run, for `synthgap explain` and the dashboard's child process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diagnose.names import file_name
from diagnose.stored_images.picture import read_picture
from distill.system.atomic_files import write_then_rename
from probes.result import DiagnosticError, ProbeResult


@dataclass(frozen=True)
class Explained:
    """One encoder's attribution maps of one picture.

    Args:
        encoder: its name.
        maps: `zero_shot`, `domain` -> (H, W) float32, signed.
        numbers: the attributed cosines, `predicted` and `explained` class.
    """

    encoder: str
    maps: dict[str, np.ndarray]
    numbers: dict[str, float]


def explain(run: Path, content: bytes, encoders: Sequence[str], *, method: str, label: int | None = None) -> list[Explained]:
    """Compute attribution maps of one picture for students of a run, or for its teacher.

    Args:
        run: a diagnosed run whose students still have their checkpoints.
        content: the picture, see `read_picture`.
        encoders: names of students, or `teacher`.
        method: key in `probes.attribution.methods.registry.METHODS`, or `captum:NAME`.
        label: class of the zero-shot logit, or None for the one that each encoder predicts.

    Raises:
        FileNotFoundError: when the run lacks a checkpoint, `class_weights.npy` or a result of `attribution`.
        ValueError: for a picture, method or class that cannot be used.
        DiagnosticError: for results of an older version.
    """
    from distill.models.checkpoint import load_student, read_description
    from probes.attribution.single_image import attribute_image

    weights = _class_weights(run)
    explanations: list[Explained] = []
    for name in encoders:
        paths = sorted((run / "students").glob("*/student.safetensors"))
        checkpoints = {path.parent.name: path for path in paths}
        if name != "teacher" and name not in checkpoints:
            raise FileNotFoundError(f"`student` must have a checkpoint in {run / 'students'}, got {name!r}; train it with --resume.")
        if not checkpoints:
            raise FileNotFoundError(f"`run` must hold a student, got none in {run / 'students'}; train it with --resume.")
        baseline, domain = _stored_baseline(run, name, list(checkpoints))
        size = int(read_description(checkpoints.get(name, paths[0]))["image_size"])
        encoder = _teacher(run, size) if name == "teacher" else load_student(checkpoints[name])[0]
        maps, numbers = attribute_image(
            encoder, read_picture(content, size), method=method, baseline=baseline, class_weights=weights, label=label, domain=domain
        )
        explanations.append(Explained(name, maps, numbers))
    return explanations


def _class_weights(run: Path) -> np.ndarray:
    path = run / "class_weights.npy"
    if not path.is_file():
        raise FileNotFoundError(f"`run` must hold class_weights.npy, got {run} without it; run `synthgap diagnose` again.")
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DiagnosticError(f"{path} must be a whole array, got {error}; run `synthgap diagnose` again.") from error


def _stored_baseline(run: Path, name: str, students: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the baseline colour and the domain direction of an encoder; the teacher's are stored with every student's."""
    prefix = "teacher/" if name == "teacher" else ""
    for student in students if name == "teacher" else [name]:
        try:
            arrays = ProbeResult.load(run / "probes" / "attribution" / file_name(student)).arrays
        except FileNotFoundError:
            continue
        if "lens/absent" in arrays:
            return arrays["lens/absent"], arrays.get(f"{prefix}lens/domain")
        raise DiagnosticError(f"`attribution` of {student} must hold `lens/absent`, got an older result; run `synthgap diagnose` again.")
    raise FileNotFoundError(f"`run` must hold a result of attribution for {name}, got none; run `synthgap diagnose` on it.")


def _teacher(run: Path, size: int) -> Any:
    from distill.training.config import read_experiment
    from distill.training.experiment import open_teacher

    return open_teacher(read_experiment(run / "config.toml"), image_size=size).encoder


def write_explained(explanations: Sequence[Explained], path: Path | str) -> Path:
    """Write maps and numbers into one `.npz`, whole or not at all.

    Args:
        explanations: one an encoder.
        path: the file.

    Returns:
        The path. The file holds arrays `map/<i>/zero_shot` and `map/<i>/domain` of the i-th encoder, and `said`, JSON text with name and numbers of each.
    """
    path = Path(path)
    arrays = {f"map/{row}/{name}": values for row, one in enumerate(explanations) for name, values in one.maps.items()}
    arrays["said"] = np.array(json.dumps([{"encoder": one.encoder, "numbers": one.numbers} for one in explanations]))
    write_then_rename(path, lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]
    return path
