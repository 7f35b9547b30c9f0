"""Build small stored runs for the dashboard's tests. Every number and picture is MADE UP, in the size of a CIFAKE run; nothing was measured."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from diagnose.schema import Alternative, Estimate, Evidence, Factor, Finding, ProbeRecord, Report, Student, Teacher, Verdict, ZeroShot
from probes.result import ProbeResult, Score

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
N = 5000
EPOCHS = 6
LOSSES = {
    ("l2", "synthetic"): (0.767, 0.862, 0.81, 0.98, 0.99),
    ("image_text_contrastive", "synthetic"): (0.433, 0.961, 0.94, 0.26, 0.41),
    ("image_image_contrastive", "synthetic"): (0.758, 0.796, 0.82, 0.83, 0.84),
    ("l2", "real"): (0.814, 0.796, 0.80, 0.98, 0.97),
    ("image_text_contrastive", "real"): (0.802, 0.764, 0.79, 0.35, 0.30),
}
"""(loss, trained on) -> real accuracy, synthetic accuracy, within-class AUC, cosine on real, on synthetic; made up."""
TEACHER = (0.867, 0.858, 0.79)


def accuracy(value: float, n: int = N) -> Estimate:
    """Give an accuracy the normal 95 % interval of n images."""
    half = 1.96 * (value * (1 - value) / n) ** 0.5
    return Estimate(value=value, low=value - half, high=value + half, n=n)


def around(value: float, half: float, over: str = "seeds and images") -> Estimate:
    """Give a number a symmetric interval."""
    return Estimate(value=value, low=value - half, high=value + half, n=3, over=over)


def score(value: float, half: float = 0.01, chance: float | None = None) -> Score:
    """Give a score a symmetric interval."""
    return Score(value, value - half, value + half, chance)


def picture(seed: int, synthetic: bool) -> bytes:
    """Draw a made-up 32 x 32 picture: a blurred blob, smoother when it plays a synthetic image."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (4 if synthetic else 9, 4 if synthetic else 9, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    small.resize((32, 32), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def _transfer(
    name: str,
    real: float,
    synthetic: float,
    rng: np.random.Generator,
    ids: np.ndarray,
    domain: np.ndarray,
    labels: np.ndarray,
    classes: int,
) -> ProbeResult:
    spread = rng.uniform(-0.15, 0.12, classes)
    return ProbeResult(
        "transfer", name, "teacher",
        {
            "zero_shot/real": score(real, chance=0.1), "zero_shot/synthetic": score(synthetic, chance=0.1), "gap": score(synthetic - real, 0.02, 0.0),
            "teacher/zero_shot/real": score(TEACHER[0], chance=0.1), "teacher/zero_shot/synthetic": score(TEACHER[1], chance=0.1),
        },
        {
            "class_accuracy/real": np.clip(real + spread, 0, 1), "class_accuracy/synthetic": np.clip(synthetic + spread / 3, 0, 1),
            "teacher/class_accuracy/real": np.clip(TEACHER[0] + spread / 3, 0, 1), "teacher/class_accuracy/synthetic": np.clip(TEACHER[1] + spread / 3, 0, 1),
            "ids": ids, "domain": domain, "labels": labels,
        },
        {"real": N, "synthetic": N, "classes": classes},
    )  # fmt: skip


def _separability(name: str, auc: float, rng: np.random.Generator, ids: np.ndarray, domain: np.ndarray) -> ProbeResult:
    shift = 3 * (auc - 0.5)
    measured = {
        "linear/auc": auc + 0.02,
        "knn/auc": auc - 0.03,
        "within_class/linear/auc": auc,
        "within_class/knn/auc": auc - 0.05,
        "metadata/auc": 0.53,
    }
    own = {
        "linear/auc": TEACHER[2] + 0.02,
        "knn/auc": TEACHER[2] - 0.03,
        "within_class/linear/auc": TEACHER[2],
        "within_class/knn/auc": TEACHER[2] - 0.05,
    }
    scores = {key: score(value, 0.008, 0.5) for key, value in measured.items()} | {
        f"teacher/{key}": score(value, 0.008, 0.5) for key, value in own.items()
    }
    scores |= {f"excess/{key}": score(measured[key] - own[key], 0.01, 0.0) for key in ("linear/auc", "knn/auc", "within_class/linear/auc")}
    arrays = {
        "domain_score": rng.normal(size=len(ids)) + shift * (domain == "synthetic"),
        "ids": ids,
        "null_auc": rng.normal(0.5, 0.01, 50),
    }
    return ProbeResult("separability", name, "teacher", scores, arrays, {"real": N, "synthetic": N, "folds": 5})


def _drift(name: str, real: float, synthetic: float) -> ProbeResult:
    scores = {
        "cosine/real": score(real, 0.004),
        "cosine/synthetic": score(synthetic, 0.004),
        "cka/real": score(real * 0.9),
        "cka/synthetic": score(synthetic * 0.9),
    }
    epochs = np.arange(EPOCHS + 1)
    arrays: dict[str, np.ndarray] = {"epochs": epochs}
    for domain, last in (("real", real), ("synthetic", synthetic)):
        value = last * (1 - np.exp(-epochs / 1.5))
        arrays[f"cosine/{domain}/by_epoch"] = np.stack([value, value - 0.01, value + 0.01], axis=1)
    return ProbeResult("drift", name, "teacher", scores, arrays, {"real": N, "synthetic": N})


def _curve(real: float, synthetic: float) -> list[dict[str, float]]:
    return [
        {
            "epoch": float(epoch),
            "loss": 2.3 * 0.55**epoch,
            "zero_shot_real": real * (1 - 0.6**epoch),
            "zero_shot_synthetic": synthetic * (1 - 0.6**epoch),
        }
        for epoch in range(1, EPOCHS + 1)
    ]


def _findings() -> list[Finding]:
    ruled_out = [
        Alternative(
            name="training failure",
            status="ruled out",
            because="The image-text student reaches 96 % on held-out synthetic images, more than its teacher.",
        ),
        Alternative(
            name="real images are harder", status="ruled out", because="The teacher scores 87 % on real and 86 % on synthetic images."
        ),
        Alternative(
            name="the student is too small", status="ruled out", because="The same network reaches 77 % on real images with the L2 loss."
        ),
        Alternative(name="temperature", status="untested", because="All students were trained at one temperature."),
    ]
    text = [f"image_text_contrastive-synthetic-s{seed}" for seed in range(3)]
    return [
        Finding(
            id="gap", probe="transfer", verdict="fail", students=text, alternatives=ruled_out,
            statement="Trained on synthetic images, the image-text contrastive student loses 42 points on real images that its teacher does not lose.",
            evidence=[Evidence(what="teacher minus student on real images", estimate=around(0.434, 0.021), unit="points", source="transfer/below_teacher/real")],
        ),
        Finding(
            id="separable", probe="separability", verdict="warn", students=text,
            statement="It separates synthetic from real images of the same class better than its teacher does.",
            evidence=[Evidence(what="same-class separability", estimate=around(0.94, 0.01), unit="AUC", teacher=around(0.79, 0.01), source="separability/within_class/linear/auc")],
        ),
        Finding(
            id="drift", probe="drift", verdict="inconclusive", students=text,
            statement="Its embeddings are farther from the teacher's on real than on synthetic images; whether that causes the failure is not decided by this.",
            evidence=[Evidence(what="cosine on real minus synthetic images", estimate=around(-0.15, 0.02), unit="cosine", source="drift/cosine/difference")],
            recommendation="Use an image target (L2 to the teacher's embedding) when training on synthetic images.",
        ),
    ]  # fmt: skip


def build_report(name: str, *, classes: list[str] = CLASSES, images: int = 60) -> tuple[Report, list[ProbeResult], pd.DataFrame]:
    """Make up a whole report with its probe results and thumbnails.

    Args:
        name: of the run.
        classes: class names, outside strings for the tests.
        images: rows a domain in the arrays; the counts say `N`.
    """
    rng = np.random.default_rng(0)
    ids = np.array([f"{domain}-{index}" for domain in ("real", "synthetic") for index in range(images)])
    domain, labels = np.repeat(["real", "synthetic"], images), np.tile(np.arange(images) % len(classes), 2)
    students, results = [], []
    for (loss, trained_on), (real, synthetic, auc, cosine_real, cosine_synthetic) in LOSSES.items():
        for seed in range(3):
            student, jitter = f"{loss}-{trained_on}-s{seed}", 0.006 * (seed - 1)
            students.append(
                Student(
                    name=student, params=320_000, loss=loss, seed=seed, trained_on=trained_on, target="text" if "text" in loss else "image", negatives="contrastive" in loss,
                    zero_shot=ZeroShot(real=accuracy(real + jitter), synthetic=accuracy(synthetic + jitter / 2)), curve=_curve(real + jitter, synthetic + jitter / 2),
                )
            )  # fmt: skip
            results += [
                _transfer(student, real + jitter, synthetic + jitter / 2, rng, ids, domain, labels, len(classes)),
                _separability(student, auc + jitter / 2, rng, ids, domain),
                _drift(student, cosine_real + jitter / 3, cosine_synthetic + jitter / 3),
            ]
    records = [
        ProbeRecord(
            probe=result.probe, subject=result.subject, status="done", path=f"probes/{result.probe}/{result.subject}.json",
            scores={key: value.to_dict() for key, value in result.scores.items()}, counts=dict(result.counts),
        )
        for result in results
    ]  # fmt: skip
    report = Report(
        name=name, created="2026-01-01T00:00:00Z", class_names=classes, about="Made-up numbers for tests, in the size of a CIFAKE run; nothing here was measured.",
        teacher=Teacher(name="small-clip", params=1_260_000, zero_shot=ZeroShot(real=accuracy(TEACHER[0]), synthetic=accuracy(TEACHER[1]))), students=students,
        findings=_findings(), probes=records, counts={"real": N, "synthetic": N},
        factors=[
            Factor(name="text_target", share=around(0.97, 0.05), points=around(0.325, 0.02), statement="The class-text target costs"),
            Factor(name="negatives", share=around(0.03, 0.05), points=around(0.009, 0.015), statement="The negatives cost"),
        ],
        verdict=Verdict(
            label="text target",
            statement="The student fails on real images because its loss pulls images to class texts: on synthetic images that target is met by cues that real images do not have. "
            "The class-text target costs 33 points (31 to 35); contrast itself costs 1 (−1 to 2).",
        ),
    )  # fmt: skip
    thumbnails = pd.DataFrame(
        {
            "id": ids, "image": [picture(index, where == "synthetic") for index, where in enumerate(domain)], "domain": domain, "label": labels,
            "class_name": [classes[label] for label in labels],
        }
    )  # fmt: skip
    return report, results, thumbnails


def store_complete(root: Path, name: str = "made-up", **given: object) -> Path:
    """Store a complete run and return its folder."""
    report, results, thumbnails = build_report(name, **given)  # type: ignore[arg-type]
    folder = root / name
    folder.mkdir(parents=True)
    for result in results:
        result.save(folder / "probes" / result.probe / result.subject)
    thumbnails.to_parquet(folder / "thumbnails.parquet")
    (folder / "report.json").write_text(report.model_dump_json())
    (folder / "done").touch()
    return folder


def store_partial(root: Path, name: str = "partial") -> Path:
    """Store a report alone: no arrays, no thumbnails, one failed probe, no separability, students of one kind."""
    report, _, _ = build_report(name)
    failed = ProbeRecord(probe="drift", subject=report.students[0].name, status="failed", error="ValueError: *made up* <b>failure</b>")
    records = [record for record in report.probes if record.probe == "transfer"]
    students = [student.model_copy(update={"curve": []}) for student in report.students if student.trained_on == "synthetic"]
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(
        report.model_copy(update={"probes": [*records, failed], "students": students, "findings": [], "factors": []}).model_dump_json()
    )
    return folder


def store_broken(root: Path, name: str = "broken") -> Path:
    """Store a report cut off in the middle."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "report.json").write_text('{"schema_version": 1, "name": "bro')
    (folder / "done").touch()
    return folder


def store_other_schema(root: Path, name: str = "older") -> Path:
    """Store a report of another schema version."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps({"schema_version": 99, "students": []}))
    (folder / "done").touch()
    return folder


def store_going(root: Path, name: str = "going") -> Path:
    """Store a run in the middle of its training, with a half-written last line."""
    folder = root / name
    folder.mkdir(parents=True)
    rows = [{"student": student, **row} for student in ("l2-s0", "image_text-s0") for row in _curve(0.6, 0.8)[:3]]
    (folder / "metrics.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + '\n{"student": "l2-s0", "epo')
    (folder / "config.toml").write_text("")
    return folder
