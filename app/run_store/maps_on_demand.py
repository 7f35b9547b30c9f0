"""Explain a picture on demand in a child process, so that this one never loads torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.run_store.reports import Run, inside
from probes.result import DiagnosticError

PATIENCE = 180.0
"""Seconds until the child is ended."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What one encoder says of a picture: its maps by number (h, w), and the numbers."""

    encoder: str
    maps: dict[str, np.ndarray]
    numbers: dict[str, float]


def able(run: Run, report_students: list[str]) -> tuple[list[str], str]:
    """Say which students can be asked.

    Args:
        run: the run.
        report_students: names of the students in the report.

    Returns:
        Names with a checkpoint; and, where none can be asked, what is missing.
    """
    trained = [name for name in report_students if inside(run, "students", name, "student.safetensors").is_file()]
    if not trained:
        return [], "The students' checkpoints are not in this run, and maps of other pictures need them."
    if not inside(run, "class_weights.npy").is_file():
        return [], "This run was diagnosed by an older version, which kept no class weights."
    explained = [name for name in trained if inside(run, "probes", "attribution", f"{name}.json").is_file()]
    return explained, "" if explained else "Attribution has not run on these students."


def command(run: Run, picture: Path, out: Path, encoders: list[str], method: str, label: int | None) -> list[str]:
    """Return the command that explains a picture; names cannot become options, since each stands behind its `=`.

    Args:
        run: the run.
        picture: file of the picture.
        out: file of maps to write.
        encoders: `teacher` and names of students.
        method: attribution method, a key of `METHODS`.
        label: class index, or None for the predicted class.
    """
    return [
        *(sys.executable, "-P", "-m", "app.cli", "explain", str(run.path), f"--image={picture}", f"--out={out}", f"--method={method}"),
        *(f"--student={name}" for name in encoders),
        *([] if label is None else [f"--class={label}"]),
    ]


def ask(
    run: Run, content: bytes, encoders: list[str], *, method: str, label: int | None = None, patience: float = PATIENCE
) -> list[Answer]:
    """Explain a picture with encoders of a run.

    Args:
        run: the run.
        content: the picture's bytes; the child checks them.
        encoders: students, or `teacher`.
        method: key of the probe's methods.
        label: class to explain, or None for the predicted one.
        patience: seconds until the child is ended.

    Raises:
        DiagnosticError: when the child fails or takes too long; the message is for the reader.
    """
    with tempfile.TemporaryDirectory(prefix="synthgap-explain-") as folder:
        picture, out = Path(folder) / "picture", Path(folder) / "maps.npz"
        picture.write_bytes(content)
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        try:
            done = subprocess.run(
                command(run, picture, out, encoders, method, label),
                capture_output=True, text=True, timeout=patience, check=False, env=environment, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise DiagnosticError(
                f"`explain` must answer within {patience:.0f} seconds, got nothing; ask fewer students, or run `synthgap explain`."
            ) from None
        except OSError as error:
            raise DiagnosticError(f"`explain` must start, got {error.strerror}; run `synthgap explain` in a terminal.") from error
        if done.returncode != 0 or not out.is_file():
            lines = [line for line in done.stderr.replace(str(picture), "the picture").splitlines() if line.strip()]
            message = next((line for line in lines if line.startswith("error: ")), lines[-1] if lines else f"exit code {done.returncode}")
            raise DiagnosticError(message.removeprefix("error: ")[:500])
        return read_answers(out)


def read_answers(path: Path) -> list[Answer]:
    """Read what the child wrote.

    Raises:
        DiagnosticError: when it is not whole.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["said"]))
            return [
                Answer(
                    str(one["encoder"]),
                    {name: file[f"map/{row}/{name}"] for name in ("zero_shot", "domain") if f"map/{row}/{name}" in file.files},
                    {str(name): float(value) for name, value in one["numbers"].items()},
                )
                for row, one in enumerate(about)
            ]
    except Exception as error:  # zip, JSON and numpy each raise their own for a damaged file
        raise DiagnosticError(f"`explain` must write whole maps, got {error!r}; try again.") from error
