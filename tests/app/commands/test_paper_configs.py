"""The paper's configs, rehearsed: stand-ins for teacher, student and data; two steps of each stage; a diagnosis."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from app import cli
from distill.models.checkpoint import read_description
from distill.training.config import read_experiment
from distill.training.metrics import read_metrics
from distill.training.smoke import stand_ins

CONFIGS = Path(__file__).parents[3] / "configs" / "paper"
STAGE_2 = ["pets", "cars", "flowers", "food", "aircraft", "dtd"]
# One in the default run, all in `make smoke`, which is part of .ci/run.
RUNS = ["stage1-tinyvit", *(pytest.param(name, marks=pytest.mark.slow) for name in ["stage1-efficientnet", *STAGE_2])]


def _call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["synthgap", *(str(argument) for argument in arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize("name", RUNS)
def test_a_rehearsal_trains_every_student_for_two_steps_and_ends_in_a_verdict(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = read_experiment(CONFIGS / f"{name}.toml")

    assert _call(monkeypatch, "train", CONFIGS / f"{name}.toml", "--smoke", "--out", tmp_path / "run") == 0

    assert "verdict: inconclusive" in capsys.readouterr().out, "twelve images and untrained students show nothing"
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert {row["student"].rsplit("-", 2)[0] for row in rows} == set(experiment.students)
    assert [row["step"] for row in rows] == [2] * len(experiment.students)
    assert all(0 <= row["zero_shot_real"] <= 1 for row in rows)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert len(report["students"]) == len(experiment.students)
    for row in rows:
        description = read_description(tmp_path / "run" / "students" / row["student"] / "student.safetensors")
        assert description.get("init", "") == (str(tmp_path / "run" / "stand-ins" / "init.safetensors") if experiment.student.init else "")
    assert _call(monkeypatch, "train", CONFIGS / f"{name}.toml", "--smoke", "--out", tmp_path / "run") == 2


@pytest.mark.parametrize("name", STAGE_2)
def test_a_second_stage_is_the_papers(name: str) -> None:
    experiment = read_experiment(CONFIGS / f"{name}.toml")
    first = read_experiment(CONFIGS / "stage1-tinyvit.toml")

    training = experiment.training
    assert experiment.teacher.model == first.teacher.model == "open_clip:ViT-B-32/datacomp_xl_s13b_b90k"
    assert experiment.student.model == first.student.model
    (cell,) = first.students
    assert experiment.student.init == f"runs/paper/{first.name.removeprefix('paper-')}/students/{cell}-web-s0/student.safetensors"
    assert (training.epochs, training.batch_size, training.learning_rate, training.weight_decay) == (96, 256, 5e-4, 0.0)
    assert (training.betas, training.epsilon, training.schedule) == ((0.9, 0.98), 1e-6, "constant")
    assert set(experiment.data.train) == {"synthetic"}, "no real image is trained on"
    assert {"l2", "image_text_contrastive", "image_image_contrastive"} == {loss for c in experiment.students.values() for loss in c.loss}


def test_stand_ins_keep_what_the_file_says_of_losses_texts_and_schedule(tmp_path: Path) -> None:
    experiment = read_experiment(CONFIGS / "pets.toml")

    small = stand_ins(experiment, tmp_path)

    assert small.students == experiment.students
    assert small.teacher.templates == experiment.teacher.templates == ["a photo of a {}, a type of pet."]
    for name in ("learning_rate", "betas", "epsilon", "schedule", "warmup", "clip_norm", "optimizer", "precision"):
        assert getattr(small.training, name) == getattr(experiment.training, name)
    assert small.student.model == experiment.student.model
    assert small.data.test["real"].endswith(".tar"), "shards stay shards"
    assert small.data.test["synthetic"].endswith(".parquet")
