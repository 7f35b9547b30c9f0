"""Stored attribution as the dashboard needs it: maps of single images, means, curves, and whether a method may be believed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from app.run_store.reports import Run, load_probe, records
from diagnose.schema import Report
from probes.result import DiagnosticError, ProbeResult, Score

METHODS = {
    "integrated_gradients": "Integrated gradients",
    "occlusion": "Occlusion",
    "grad_cam": "Grad-CAM",
    "attention": "Attention",
}
CAPTUM = "captum:"
CAPTUM_METHODS = tuple(
    f"{CAPTUM}{name}" for name in ("DeepLift", "GradientShap", "InputXGradient", "LayerGradCam", "KernelShap", "NoiseTunnel:Saliency")
)
"""Some of captum's methods, offered by name; any other may be typed. The list is short because this process never loads captum."""
NUMBERS = {"zero_shot": "the class", "domain": "looks synthetic"}
"""What is explained -> how a caption says it."""


def method_title(method: str) -> str:
    """Return how a page names a method: `captum:DeepLift` is "DeepLift (captum)".

    Args:
        method: a key of `METHODS`, or `captum:NAME`.
    """
    return METHODS.get(method) or (f"{method.removeprefix(CAPTUM)} (captum)" if method.startswith(CAPTUM) else method)


def stored_methods(eyes_by_encoder: Iterable[Eyes]) -> list[str]:
    """List the methods of which any encoder has pictures, the built-in ones first."""
    names = {name for eyes in eyes_by_encoder for name in eyes.methods()}
    return [name for name in METHODS if name in names] + sorted(names - METHODS.keys())


@dataclass(frozen=True, eq=False)
class Eyes:
    """What attribution found of one encoder.

    Args:
        name: the encoder's.
        result: the result that holds it; the teacher's stands beside a student's.
        prefix: `teacher/` for the teacher.
    """

    name: str
    result: ProbeResult
    prefix: str = ""

    @property
    def status(self) -> Mapping[str, str]:
        """Map `<method>/<number>` to `informative`, or to why not."""
        statuses = self.result.params.get("teacher_status" if self.prefix else "status", {})
        return statuses if isinstance(statuses, dict) else {}

    def methods(self) -> list[str]:
        """List the methods of which pictures are stored."""
        start = f"{self.prefix}gallery/{CAPTUM}"
        of_captum = {
            name.removeprefix(f"{self.prefix}gallery/").rpartition("/")[0] for name in self.result.arrays if name.startswith(start)
        }
        names = [*METHODS, *sorted(of_captum)]
        return [name for name in names if any(f"{self.prefix}gallery/{name}/{number}" in self.result.arrays for number in NUMBERS)]

    def believed(self, method: str, number: str) -> str:
        """Say whether a method's maps of a number may be believed: empty if so, else why not.

        Args:
            method: attribution method, a key of `METHODS`.
            number: what the maps explain, a key of `NUMBERS`.
        """
        status = str(self.status.get(f"{method}/{number}", "not measured"))
        return "" if status == "informative" else status

    def map_of(self, image: str, method: str, number: str) -> np.ndarray | None:
        """Find the stored map of an image, (h, w) in [-1, 1], or None.

        Args:
            image: id of the picture.
            method: attribution method, a key of `METHODS`.
            number: what the maps explain, a key of `NUMBERS`.
        """
        maps, ids = self.result.arrays.get(f"{self.prefix}gallery/{method}/{number}"), self.result.arrays.get("gallery/ids")
        if maps is None or ids is None or maps.ndim != 3 or len(maps) != len(ids):
            return None
        place = np.flatnonzero(ids.astype(str) == image)
        return maps[place[0]].astype(np.float64) if len(place) else None

    def score(self, name: str) -> Score | None:
        """Find one of the encoder's scores."""
        return self.result.scores.get(f"{self.prefix}{name}")

    def mean_map(self, method: str, number: str, domain: str, label: int | None) -> np.ndarray | None:
        """Return the mean map of a class and domain, or of all classes alike (None), (h, w).

        Args:
            method: attribution method, a key of `METHODS`.
            number: what the maps explain, a key of `NUMBERS`.
            domain: `real` or `synthetic`.
            label: class index, or None for all classes.
        """
        maps, classes = self.result.arrays.get(f"{self.prefix}mean_map/{method}/{number}"), self.result.arrays.get("mean_map/classes")
        if maps is None or classes is None or maps.ndim != 4 or maps.shape[:2] != (len(classes), 2):
            return None
        of_domain = maps[:, ("real", "synthetic").index(domain)].astype(np.float64)
        chosen = of_domain if label is None else of_domain[classes == label]
        return chosen.mean(axis=0) if len(chosen) else None

    def curve(self, method: str, number: str, name: str) -> np.ndarray | None:
        """Find a mean curve of deletion or insertion, over `curve/fractions`.

        Args:
            method: attribution method, a key of `METHODS`.
            number: what the maps explain, a key of `NUMBERS`.
            name: `deletion` or `insertion`, with the baseline behind it.
        """
        line, fractions = self.result.arrays.get(f"{self.prefix}curve/{method}/{number}/{name}"), self.result.arrays.get("curve/fractions")
        return None if line is None or fractions is None or line.shape != fractions.shape else np.asarray(line, dtype=float)

    def by_class(self, method: str, number: str, value: str) -> dict[int, np.ndarray]:
        """Return a share by class: class index -> (2, 3) value, low, high of real and synthetic images.

        Args:
            method: attribution method, a key of `METHODS`.
            number: what the maps explain, a key of `NUMBERS`.
            value: name of the share.
        """
        shares = self.result.arrays.get(f"{self.prefix}by_class/{method}/{number}/{value}")
        classes = self.result.arrays.get("mean_map/classes")
        if shares is None or classes is None or shares.shape != (len(classes), 2, 3):
            return {}
        return {int(label): share.astype(float) for label, share in zip(classes, shares, strict=True)}


def load_eyes(run: Run, report: Report) -> tuple[dict[str, Eyes], str]:
    """Read what attribution found of the teacher and every student.

    Args:
        run: the run.
        report: the report of the run.

    Returns:
        Name -> what was found, the teacher first; and the first reason why a student is missing, or empty.
    """
    eyes_by_encoder: dict[str, Eyes] = {}
    reason = ""
    for name, record in records(report, "attribution").items():
        try:
            eyes_by_encoder[name] = Eyes(name, load_probe(run, record))
        except (FileNotFoundError, DiagnosticError) as error:
            reason = reason or str(error)
    for eyes in list(eyes_by_encoder.values()):
        if any(name.startswith("teacher/gallery/") for name in eyes.result.arrays):
            return {report.teacher.name: Eyes(report.teacher.name, eyes.result, "teacher/")} | eyes_by_encoder, reason
    return eyes_by_encoder, reason


def gallery(eyes_by_encoder: Mapping[str, Eyes]) -> list[tuple[str, str, int]]:
    """List the images of which maps are stored: (id, domain, label), in the order of the first encoder, once each."""
    images: dict[str, tuple[str, str, int]] = {}
    for eyes in eyes_by_encoder.values():
        columns = [eyes.result.arrays.get(f"gallery/{name}", np.zeros(0)) for name in ("ids", "domain", "labels")]
        if columns[0].shape == columns[1].shape == columns[2].shape:
            for name, domain, label in zip(*columns, strict=True):
                images.setdefault(str(name), (str(name), str(domain), int(label)))
    return list(images.values())
