"""The result of a probe: scores with intervals, arrays, and where they came from."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

SCHEMA_VERSION = 1

MAX_JSON_BYTES = 64 * 2**20
"""Largest description of a result."""

MAX_ARRAY_BYTES = 2**31
"""Most bytes that the arrays of a result may unpack to."""

Direction = Literal["higher", "lower", "neutral"]
"""Which way a score is better for the student; `neutral` where more is neither good nor bad."""


class DiagnosticError(RuntimeError):
    """Raised for a state only this project has: a stale artefact, an unfinished run, an unreadable result."""


@dataclass(frozen=True)
class Score:
    """One measured number with its 95 % interval, its chance level and the way that is better.

    Args:
        value: point estimate, finite.
        low: lower end of the 95 % interval, at most `value`.
        high: upper end of the 95 % interval, at least `value`.
        chance: the value expected when there is nothing to find, or None where no such level exists.
        direction: which way is better for the student.

    Raises:
        ValueError: for a number that is not finite, or an interval that does not hold its value.
    """

    value: float
    low: float
    high: float
    chance: float | None = None
    direction: Direction = "neutral"

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"`{name}` must be finite, got {getattr(self, name)}; report the probe as failed instead.")
        if not self.low <= self.value <= self.high:
            raise ValueError(
                f"`low` <= `value` <= `high` must hold, got {self.low}, {self.value}, {self.high}; check the interval's estimator."
            )
        if self.chance is not None and not math.isfinite(self.chance):
            raise ValueError(f"`chance` must be finite or None, got {self.chance}; use None where no chance level exists.")

    def to_dict(self) -> dict[str, Any]:
        """Return the score as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class ProbeResult:
    """Everything one probe measured about one encoder; no plot and no verdict.

    Args:
        probe: key in `PROBES`.
        subject: name of the encoder that was measured.
        reference: name of the teacher measured beside it, or None.
        scores: name -> `Score`; names are `snake_case`, with `/` between a measure and its split
            (`cosine/real`); the teacher's own value of a score carries the prefix `teacher/`.
        arrays: name -> array, saved in `.npz` without pickles.
        counts: name -> number of images, classes, folds … behind the scores.
        params: parameters that change the numbers, JSON types only.
        seed: seed of every random draw in the probe.
        versions: package -> version that computed it.
        schema_version: layout of the saved form.
    """

    probe: str
    subject: str
    reference: str | None
    scores: Mapping[str, Score]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        for name in ("scores", "arrays", "counts", "params", "versions"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def to_dict(self) -> dict[str, Any]:
        """Return all but the arrays as plain JSON types."""
        return {
            "schema_version": self.schema_version,
            "probe": self.probe,
            "subject": self.subject,
            "reference": self.reference,
            "scores": {name: score.to_dict() for name, score in sorted(self.scores.items())},
            "counts": dict(self.counts),
            "params": dict(self.params),
            "seed": self.seed,
            "versions": dict(self.versions),
            "arrays": sorted(self.arrays),
        }

    def save(self, stem: Path | str) -> Path:
        """Write `<stem>.npz` and then `<stem>.json`; the JSON is the sign that the result is whole.

        Args:
            stem: path without ending; its folder is made.

        Returns:
            The path of the JSON file.

        Raises:
            DiagnosticError: when the disk is full or the folder cannot be written.
        """
        stem = Path(stem)
        text = json.dumps(self.to_dict(), indent=1, sort_keys=True, allow_nan=False)
        target, folder = stem.parent / f"{stem.name}.json", None
        try:
            stem.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=".partial-", dir=stem.parent))
            np.savez_compressed(folder / "arrays.npz", **self.arrays)  # type: ignore[arg-type]
            (folder / "result.json").write_text(text + "\n")
            target.unlink(missing_ok=True)  # killed in between, an older result must not be read with these arrays
            (folder / "arrays.npz").replace(stem.parent / f"{stem.name}.npz")
            return (folder / "result.json").replace(target)
        except OSError as error:
            raise DiagnosticError(
                f"{target} must be writable, got {error.strerror or error}; free space or choose another folder."
            ) from error
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    @classmethod
    def load(cls, stem: Path | str) -> ProbeResult:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: when there is no such result.
            DiagnosticError: when it is of another schema version or cannot be parsed.
        """
        stem = Path(stem)
        path = stem.parent / f"{stem.name}.json"
        if not path.is_file():
            raise FileNotFoundError(f"`stem` must name a saved probe result, got {stem} (no {path.name}); run the probe first.")
        try:
            data = _description(path)
            arrays = _arrays(stem.parent / f"{stem.name}.npz")
            fields = {name: data[name] for name in ("probe", "subject", "reference", "counts", "params", "seed", "versions")}
            return cls(scores={name: Score(**score) for name, score in data["scores"].items()}, arrays=arrays, **fields)
        except DiagnosticError:
            raise
        except Exception as error:  # json, zip, zlib and numpy raise many kinds for a damaged file
            line = " ".join(repr(error).split())[:300]
            raise DiagnosticError(f"{path} must be a whole probe result, got {line}; delete it and run the probe again.") from error


def _description(path: Path) -> dict[str, Any]:
    if (size := path.stat().st_size) > MAX_JSON_BYTES:
        raise ValueError(f"{size >> 20} MiB of JSON")
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["schema_version"] != SCHEMA_VERSION:
        raise DiagnosticError(
            f"`schema_version` of {path} must be {SCHEMA_VERSION}, got {data['schema_version']}; run the probe again with this version."
        )
    return data


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a result, where they say that they fit into memory; objects are never unpickled."""
    with np.load(path, allow_pickle=False) as file:
        size = sum(member.file_size for member in file.zip.infolist())
        if size > MAX_ARRAY_BYTES:
            raise ValueError(f"{size >> 20} MiB of arrays")
        arrays = {name: file[name] for name in file.files}
    if strange := sorted(name for name, array in arrays.items() if not isinstance(array, np.ndarray)):
        raise ValueError(f"no array in {strange[0]}")
    return arrays
