"""Write the table of every loss from a diagnosed run: python benchmarks/loss_table.py runs/losses --out docs/results/losses."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from diagnose.judge.intervals import over_seeds
from diagnose.report.summary import accuracies, percent_of
from diagnose.schema import Estimate, Report, Student
from distill.losses import LOSSES
from distill.training.metrics import read_metrics

ROOT = Path(__file__).parents[1]
DRIFT = ("cosine/real", "cka/real")


def main() -> None:
    """Write table.md, the most accurate on real images first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="diagnosed with transfer and drift")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "losses")
    options = parser.parse_args()
    report = Report.model_validate_json((options.run / "report.json").read_text(encoding="utf-8"))
    speed = {row["student"]: row["images_per_second"] for row in read_metrics(options.run / "metrics.jsonl")}
    options.out.mkdir(parents=True, exist_ok=True)
    text = table(report, speed)
    (options.out / "table.md").write_text(text, encoding="utf-8")
    print(text)


def table(report: Report, speed: dict[str, float]) -> str:
    """Write one row for each loss: accuracies, nearness to the teacher, and images a second of the last epoch.

    Args:
        report: with `transfer` and `drift`.
        speed: student -> images a second.
    """
    drift = {record.subject: record.scores for record in report.probes if record.probe == "drift" and record.status == "done"}
    groups: dict[str, list[Student]] = {}
    for student in report.students:
        groups.setdefault(student.loss or student.name, []).append(student)
    rows = []
    for loss, students in groups.items():
        names = [student.name for student in students]
        real, synthetic = accuracies(report, students)
        cells = [percent_of(real), percent_of(synthetic)]
        cells += [_drift([drift[name][score] for name in names if score in drift.get(name, {})]) for score in DRIFT]
        registered = LOSSES.get(loss)
        kind = "" if registered is None else f"{registered.target}, {'negatives' if registered.negatives else 'no negatives'}"
        rows.append(
            (
                -over_seeds([value for value in real if value is not None]).value,
                f"| `{loss}` | {kind} | {len(names)} | {' | '.join(cells)} | {np.median([speed[name] for name in names]):,.0f} |",
            )
        )
    head = [
        "| loss | target | seeds | real, % | synthetic, % | cosine to the teacher, real | CKA with the teacher, real | images/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(row for _, row in sorted(rows)), ""])


def _drift(scores: list[dict[str, float]]) -> str:
    if not scores:
        return "–"
    mean = over_seeds([Estimate(value=s["value"], low=s["low"], high=s["high"], n=1) for s in scores])
    return f"{mean.value:.2f} ({mean.low:.2f} to {mean.high:.2f})"


if __name__ == "__main__":
    main()
