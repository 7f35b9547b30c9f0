"""Build small stored runs for the dashboard's tests.

Every number and picture is MADE UP, in the size of a CIFAKE run; nothing was measured.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import stored_explained
import stored_probes
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
    """Make an accuracy with the normal 95 % interval of n images."""
    half = 1.96 * (value * (1 - value) / n) ** 0.5
    return Estimate(value=value, low=value - half, high=value + half, n=n)


def around(value: float, half: float, over: str = "seeds and images") -> Estimate:
    """Make an estimate with a symmetric interval."""
    return Estimate(value=value, low=value - half, high=value + half, n=3, over=over)


def score(value: float, half: float = 0.01, chance: float | None = None) -> Score:
    """Make a score with a symmetric interval."""
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
        "transfer",
        name,
        "teacher",
        {
            "zero_shot/real": score(real, chance=0.1),
            "zero_shot/synthetic": score(synthetic, chance=0.1),
            "gap": score(synthetic - real, 0.02, 0.0),
            "teacher/zero_shot/real": score(TEACHER[0], chance=0.1),
            "teacher/zero_shot/synthetic": score(TEACHER[1], chance=0.1),
        },
        {
            "class_accuracy/real": np.clip(real + spread, 0, 1),
            "class_accuracy/synthetic": np.clip(synthetic + spread / 3, 0, 1),
            "teacher/class_accuracy/real": np.clip(TEACHER[0] + spread / 3, 0, 1),
            "teacher/class_accuracy/synthetic": np.clip(TEACHER[1] + spread / 3, 0, 1),
            "class_count/real": np.full(classes, N // classes),
            "class_count/synthetic": np.full(classes, N // classes),
            "ids": ids,
            "domain": domain,
            "labels": labels,
            "prediction": np.where(rng.random(len(ids)) < np.where(domain == "real", real, synthetic), labels, (labels + 1) % classes),
            "teacher/prediction": labels,
        },
        {"images/real": N, "images/synthetic": N, "classes": classes},
    )


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
    scores |= stored_probes.used_and_apart(auc, -0.3 if auc > 0.9 else -0.01)
    scores |= {f"excess/{key}": score(measured[key] - own[key], 0.01, 0.0) for key in ("linear/auc", "knn/auc", "within_class/linear/auc")}
    arrays = {
        "domain_score": rng.normal(size=len(ids)) + shift * (domain == "synthetic"),
        "ids": ids,
        "null_auc": rng.normal(0.5, 0.01, 50),
    }
    return ProbeResult(
        "separability",
        name,
        "teacher",
        scores,
        arrays,
        {"images/available": 2 * N, "images/real": 2000, "images/synthetic": 2000, "folds": 5},
    )


def _drift(name: str, real: float, synthetic: float, ids: np.ndarray, domain: np.ndarray) -> ProbeResult:
    scores = {
        "cosine/real": score(real, 0.004),
        "cosine/synthetic": score(synthetic, 0.004),
        "cka/real": score(real * 0.9),
        "cka/synthetic": score(synthetic * 0.9),
    }
    epochs = np.arange(EPOCHS + 1)
    each = np.where(domain == "real", real, synthetic) + 0.1 * np.sin(np.arange(len(ids)))
    arrays: dict[str, np.ndarray] = {"epochs": epochs, "ids": ids, "domain": domain, "cosine": each.clip(-1, 1)}
    for domain, last in (("real", real), ("synthetic", synthetic)):
        value = last * (1 - np.exp(-epochs / 1.5))
        arrays[f"cosine/{domain}/by_epoch"] = np.stack([value, value - 0.01, value + 0.01], axis=1)
    return ProbeResult(
        "drift", name, "teacher", scores, arrays, {"images/real": N, "images/synthetic": N, "images/sampled_per_domain": 2000}
    )


def _curve(real: float, synthetic: float) -> list[dict[str, float]]:
    return [
        {
            "epoch": float(epoch),
            "loss": (1 + real) * (0.4 + real / 4) ** epoch,
            "zero_shot_real": real * (1 - 0.6**epoch),
            "zero_shot_synthetic": synthetic * (1 - 0.6**epoch),
        }
        for epoch in range(1, EPOCHS + 1)
    ]


def _findings() -> list[Finding]:
    return [*_outcomes(), _controls(), _loss(), *stored_probes.causes(_students("image_text_contrastive")), *_separabilities(), *_drifts()]


def _students(loss: str) -> list[str]:
    return [f"{loss}-synthetic-s{seed}" for seed in range(3)]


def _trained(domain: str) -> list[tuple[str, tuple[float, float, float, float, float]]]:
    return [(loss, numbers) for (loss, trained_on), numbers in LOSSES.items() if trained_on == domain]


def _outcomes() -> list[Finding]:
    found = []
    for loss, (real, synthetic, *_) in _trained("synthetic"):
        excess = synthetic - real - TEACHER[1] + TEACHER[0]
        verdict, words = ("fail", "it fails on real images") if excess > 0.12 else ("pass", "it does not fail there")
        estimates = [
            ("accuracy on real images", "share", "zero_shot/real", real),
            ("gap in excess of the teacher's", "points", "excess_gap", excess),
        ]
        found.append(
            Finding(
                id=f"outcome/{loss}",
                probe="transfer",
                verdict=verdict,
                students=_students(loss),
                statement=f"Made up: {loss} is {100 * excess:.1f} points wider than its teacher; {words}.",
                evidence=[
                    Evidence(what=what, estimate=around(value, 0.021), unit=unit, source=source) for what, unit, source, value in estimates
                ],
            )
        )
    return found


def _controls() -> Finding:
    alternatives = [
        Alternative(
            name="training failure",
            status="ruled out",
            because="The image-text student reaches 96 % on held-out synthetic images, more than its teacher.",
        ),
        Alternative(
            name="real images are harder", status="ruled out", because="The teacher scores 87 % on real and 86 % on synthetic images."
        ),
        Alternative(name="capacity", status="not ruled out", because="The same network reaches 77 % on real images with the L2 loss."),
        Alternative(name="temperature", status="untested", because="All students were trained at one temperature."),
    ]
    return Finding(
        id="controls",
        probe="transfer",
        verdict="pass",
        alternatives=alternatives,
        statement="Made up: trained on real instead of synthetic images, L2 gains 4.7 points and image text contrastive gains 36.9 points.",
        evidence=[
            Evidence(
                what=f"gain on real images from training on them, {loss}", estimate=around(gain, 0.02), unit="points", source="2 x 2 grid"
            )
            for loss, gain in (("l2", 0.047), ("image text contrastive", 0.369))
        ],
    )


def _loss() -> Finding:
    return Finding(
        id="loss",
        probe="transfer",
        verdict="fail",
        students=[name for loss, _ in _trained("synthetic") for name in _students(loss)],
        statement="Made up: the text target costs 32.5 points (30.5 to 34.5) on real images, negatives cost 0.9 points (−0.6 to 2.4).",
        evidence=[
            Evidence(what="cost of the text target", estimate=around(0.325, 0.02), unit="points", source="paired over seeds and images"),
            Evidence(
                what="cost of the use of negatives", estimate=around(0.009, 0.015), unit="points", source="paired over seeds and images"
            ),
        ],
        recommendation="On such images, draw the student to the teacher's image embedding instead of a text embedding.",
    )


def _separabilities() -> list[Finding]:
    found = [
        Finding(
            id=f"separability/{loss}",
            probe="separability",
            verdict="warn" if auc > 0.9 else "inconclusive",
            students=_students(loss),
            statement=f"Made up: {loss} separates with an AUC of {auc:.2f}, its teacher with 0.79.",
            evidence=[
                Evidence(
                    what="separability of real and synthetic images",
                    estimate=around(auc, 0.01),
                    teacher=around(TEACHER[2], 0.01),
                    unit="AUC",
                    source="within_class/linear/auc",
                ),
                Evidence(
                    what="in excess of the teacher's",
                    estimate=around(auc - TEACHER[2], 0.012),
                    unit="AUC",
                    source="excess/within_class/linear/auc",
                ),
            ],
        )
        for loss, (_, _, auc, _, _) in _trained("synthetic")
    ]
    facts = Evidence(what="separability by file facts", estimate=around(0.5, 0.004), unit="AUC", source="metadata/auc")
    return [
        *found,
        Finding(
            id="separability/file_facts",
            probe="separability",
            verdict="pass",
            statement="Made up: file facts alone tell nothing.",
            evidence=[facts],
        ),
    ]


def _drifts() -> list[Finding]:
    return [
        Finding(
            id=f"drift/{loss}",
            probe="drift",
            verdict="warn" if made - real > 0.1 else "pass",
            students=_students(loss),
            statement=f"Made up: {loss} agrees with its teacher with {made:.2f} on synthetic and {real:.2f} on real images.",
            evidence=[
                Evidence(
                    what="cosine to the teacher on synthetic images", estimate=around(made, 0.005), unit="cosine", source="cosine/synthetic"
                ),
                Evidence(what="cosine to the teacher on real images", estimate=around(real, 0.005), unit="cosine", source="cosine/real"),
            ],
        )
        for loss, (_, _, _, real, made) in _trained("synthetic")
    ]


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
                    name=student,
                    params=320_000,
                    loss=loss,
                    seed=seed,
                    trained_on=trained_on,
                    target="text" if "text" in loss else "image",
                    negatives="contrastive" in loss,
                    zero_shot=ZeroShot(real=accuracy(real + jitter), synthetic=accuracy(synthetic + jitter / 2)),
                    curve=_curve(real + jitter, synthetic + jitter / 2),
                )
            )
            results += [
                _transfer(student, real + jitter, synthetic + jitter / 2, rng, ids, domain, labels, len(classes)),
                _separability(student, auc + jitter / 2, rng, ids, domain),
                _drift(student, cosine_real + jitter / 3, cosine_synthetic + jitter / 3, ids, domain),
                stored_probes.interventions(student, loss, trained_on, ids, domain, labels),
                stored_probes.discovery(student, ids, domain, classes),
                stored_probes.depth(student, auc + jitter / 2),
                stored_probes.ladder(student, auc + jitter / 2),
                stored_probes.corruptions(student, 0.1 if auc > 0.9 else 0.01),
            ]
    results += [stored_explained.made_up_attribution(student.name, ids, domain, labels, len(classes)) for student in students]
    results.append(stored_explained.made_up_map("small-clip", [students[0].name, students[3].name], ids, domain, labels))
    records = [
        ProbeRecord(
            probe=result.probe,
            subject=result.subject,
            status="done",
            path=f"probes/{result.probe}/{result.subject}.json",
            scores={key: value.to_dict() for key, value in result.scores.items()},
            counts=dict(result.counts),
        )
        for result in results
    ]
    report = Report(
        name=name,
        created="2026-01-01T00:00:00Z",
        class_names=classes,
        about="Made-up numbers for tests, in the size of a CIFAKE run; nothing here was measured.",
        teacher=Teacher(name="small-clip", params=1_260_000, zero_shot=ZeroShot(real=accuracy(TEACHER[0]), synthetic=accuracy(TEACHER[1]))),
        students=students,
        findings=_findings(),
        probes=records,
        counts={"real": N, "synthetic": N},
        factors=[
            Factor(name="text_target", share=around(0.97, 0.05), points=around(0.325, 0.02), statement="The class-text target costs"),
            Factor(name="negatives", share=around(0.03, 0.05), points=around(0.009, 0.015), statement="The negatives cost"),
        ],
        divisions=stored_probes.divisions(),
        contrasts=stored_probes.contrasts(),
        verdict=Verdict(
            label="text_target_costs_real_accuracy",
            statement="Image text contrastive fails on real images: it is right on 96.1 % of held-out synthetic but on 43.3 % "
            "(42.0 to 44.7) of real images, a gap 53.7 points (51.6 to 55.8) wider than its teacher's. On real images the text target "
            "costs 32.5 points (30.5 to 34.5); the use of negatives costs 0.9 points (−0.6 to 2.4). L2 reaches 76.7 % on real images.",
        ),
    )
    thumbnails = pd.DataFrame(
        {
            "id": ids,
            "image": [picture(index, where == "synthetic") for index, where in enumerate(domain)],
            "domain": domain,
            "label": labels,
            "class_name": [classes[label] for label in labels],
        }
    )
    return report, results, thumbnails


def store_complete(root: Path, name: str = "made-up", **given: object) -> Path:
    """Store a complete run and return its folder."""
    report, results, thumbnails = build_report(name, **given)  # type: ignore[arg-type]
    folder = root / name
    folder.mkdir(parents=True)
    for result in results:
        result.save(folder / "probes" / result.probe / result.subject)
    thumbnails.to_parquet(folder / "thumbnails.parquet")
    labels = thumbnails["label"].to_numpy()
    stored_probes.edited(
        thumbnails["id"].to_numpy(), thumbnails["domain"].to_numpy(), report.class_names, labels, list(thumbnails["image"])
    ).to_parquet(folder / "edited.parquet")
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
        report.model_copy(
            update={"probes": [*records, failed], "students": students, "findings": [], "factors": [], "divisions": [], "contrasts": []}
        ).model_dump_json()
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
