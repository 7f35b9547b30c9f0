"""How near students come to their teacher, against their size and against the arithmetic of their training: python benchmarks/parity.py RUNS --out FOLDER."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
import torch
from torch.utils.flop_counter import FlopCounterMode

from diagnose.report.summary import percent_of
from diagnose.schema import Estimate, Report
from distill.models.checkpoint import load_student, read_description
from distill.training.config import read_experiment
from distill.training.experiment import open_experiment

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

ROOT = Path(__file__).parents[1]
MARKERS, COLOURS = "osD^vPX*", ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#888888")
ESTIMATES = ("real", "synthetic", "teacher")
"""Fields of `Trained` that have an interval."""

PASSES = 3
"""Forward passes that a training step costs: one forward, and a backward of about two."""


@dataclass(frozen=True)
class Trained:
    """One student of one run.

    Args:
        run: name of the run's folder.
        name: of the student.
        params: of its image tower.
        teacher_params: of the teacher's.
        petaflops: arithmetic of its training, 10^15 floating-point operations, without the teacher's.
        epochs: passes over the images, those of the checkpoint it started from included.
        real: zero-shot accuracy on real images.
        synthetic: the same on synthetic images.
        teacher: the teacher's on real images.
    """

    run: str
    name: str
    params: int
    teacher_params: int
    petaflops: float
    epochs: int
    real: Estimate
    synthetic: Estimate
    teacher: Estimate


def main() -> None:
    """Write table.md, parity.svg and points.json from all diagnosed runs below a folder, and from the points kept of runs that are not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "parity")
    options = parser.parse_args()
    students = [one for path in sorted(options.runs.glob("*/report.json")) for one in read(path.parent)]
    if not students:
        parser.error(f"`runs` must hold diagnosed runs, got none in {options.runs}; run `make parity`.")
    points_file = options.out / "points.json"
    students += [one for one in read_points(points_file) if one.run not in {new.run for new in students}]
    students.sort(key=lambda one: (one.params, one.petaflops, one.name))
    options.out.mkdir(parents=True, exist_ok=True)
    points = [asdict(one) | {name: getattr(one, name).model_dump() for name in ESTIMATES} for one in students]
    points_file.write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")
    (options.out / "table.md").write_text(table(students), encoding="utf-8")
    draw(students, options.out / "parity.svg")
    print(table(students))


def read_points(path: Path) -> list[Trained]:
    """Read the points that an earlier call has kept; none without the file."""
    points = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return [Trained(**point | {name: Estimate.model_validate(point[name]) for name in ESTIMATES}) for point in points]


def read(run: Path) -> list[Trained]:
    """Read the students of a diagnosed run."""
    report = Report.model_validate_json((run / "report.json").read_text(encoding="utf-8"))
    experiment = read_experiment(run / "config.toml")
    opened = open_experiment(experiment)
    epochs = experiment.training.epochs
    if experiment.student.init:  # a second round costs its first one as well
        epochs += read_description(experiment.student.init)["epoch"]
    teacher = report.teacher
    students = []
    for student in report.students:
        encoder, _ = load_student(run / "students" / student.name / "student.safetensors")
        images = len(opened.train[student.trained_on or "synthetic"])
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            encoder(torch.zeros(1, 3, opened.image_size, opened.image_size))
        work = counter.get_total_flops() * PASSES * images * epochs / 1e15
        real, synthetic, theirs = student.zero_shot.real, student.zero_shot.synthetic, teacher.zero_shot.real
        if real is None or synthetic is None or theirs is None:
            raise SystemExit(f"`{run}` must be judged on both domains, got {student.name} on one; diagnose it with both.")
        students.append(Trained(run.name, student.name, student.params, teacher.params, work, epochs, real, synthetic, theirs))
    return students


def table(students: list[Trained]) -> str:
    """Write the students as a Markdown table, the smallest first."""
    lines = [
        "| run | student | parameters | fewer than the teacher's | epochs | 10^15 operations | real | synthetic | behind the teacher on real |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in students:
        fewer = 100 * (1 - one.params / one.teacher_params)
        lines.append(
            f"| {one.run} | {one.name} | {one.params:,} | {fewer:.1f} % | {one.epochs} | {one.petaflops:.2f} | {percent_of([one.real])} | {percent_of([one.synthetic])} "
            f"| {100 * (one.teacher.value - one.real.value):.1f} |"
        )
    return "\n".join(
        [*lines, "", f"Teacher: {students[0].teacher_params:,} parameters, {percent_of([students[0].teacher])} on real images.", ""]
    )


def draw(students: list[Trained], path: Path) -> None:
    """Draw accuracy on real images against parameters and against arithmetic, with 95 % intervals over images."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.9), sharey=True, layout="constrained")
    for panel, measure, label in zip(
        panels, ("params", "petaflops"), ("parameters of the student", "10^15 operations of training"), strict=True
    ):
        for number, one in enumerate(students):
            below, above = one.real.value - one.real.low, one.real.high - one.real.value
            style = {"fmt": MARKERS[number % len(MARKERS)], "color": COLOURS[number % len(COLOURS)], "capsize": 2}
            name = f"{one.name.partition('-')[0]}, {one.run.replace('@', ', ')} epochs"
            panel.errorbar(getattr(one, measure), 100 * one.real.value, yerr=[[100 * below], [100 * above]], label=name, **style)
        panel.axhline(100 * students[0].teacher.value, color="#555555", linestyle="--", label="teacher")
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlabel(label)
    panels[0].set_ylabel("accuracy on real images, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
