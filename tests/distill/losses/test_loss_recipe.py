"""The recipe of CONTRIBUTING for a loss, followed with a toy: a function and a row of `LOSSES`, and nothing else is touched."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from loss_batches import full_batch, value
from torch import Tensor

from diagnose.inputs.load import load_run
from diagnose.report.assemble import read
from diagnose.run import diagnose
from distill.losses import LOSSES, Loss, Option
from distill.models.checkpoint import read_description
from distill.training.config import read_experiment
from distill.training.factor_levels import levels
from distill.training.grid import train_grid
from distill.training.metrics import read_metrics
from tools import loss_tables

ROOT = Path(__file__).parents[3]


def toy_push(student: Tensor, teacher: Tensor, *, push: float) -> Tensor:
    """Pull to the teacher's embedding and push off those of the other images: |s_i - t_i|^2 + push mean_j exp(s_i.t_j)."""
    others = ~torch.eye(len(student), dtype=torch.bool)
    return (student - teacher).square().sum(dim=1).mean() + push * (student @ teacher.T)[others].exp().mean()


TOY = Loss(
    lambda b, push: toy_push(b.student, b.teacher, push=push),
    target="image",
    negatives=True,
    needs=("teacher",),
    options={"push": Option(0.5, 0)},
    smallest_batch=2,
    formula=r"\|s − t\|² + p mean_j exp(s_i·t_j)",
    source="Toy et al. 2026",
)


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the row into the registry."""
    monkeypatch.setitem(LOSSES, "toy_push", TOY)


def test_the_toy_agrees_with_an_independent_reference(row: None) -> None:
    batch = full_batch()
    student, teacher = batch.student.numpy(), batch.teacher.numpy()

    pairs = [np.exp(student[i] @ teacher[j]) for i in range(6) for j in range(6) if i != j]
    reference = np.mean([((s - t) ** 2).sum() for s, t in zip(student, teacher, strict=True)]) + 0.5 * np.mean(pairs)

    assert value("toy_push", batch).item() == pytest.approx(reference)


def test_the_page_and_the_config_of_all_losses_derive_from_the_row(row: None) -> None:
    page = loss_tables.page_with_table(loss_tables.PAGE.read_text(encoding="utf-8"), LOSSES)
    config = loss_tables.config_with_students(loss_tables.CONFIG.read_text(encoding="utf-8"), LOSSES)

    assert r"| `toy_push` | \|s − t\|² + p mean_j exp(s_i·t_j) | image | yes | – | teacher | Toy et al. 2026 |" in page.splitlines()
    assert "`toy_push`: `push` (0.5)" in page
    assert tomllib.loads(config)["students"]["toy_push"] == {"loss": {"toy_push": 1.0}}


def test_the_committed_page_and_config_are_those_of_the_registry() -> None:
    for path, write in ((loss_tables.PAGE, loss_tables.page_with_table), (loss_tables.CONFIG, loss_tables.config_with_students)):
        text = path.read_text(encoding="utf-8")
        assert text == write(text, LOSSES), f"{path.name} differs from the registry; run `python -m tools.loss_tables`"


def test_every_row_has_its_formula_and_source() -> None:
    assert [name for name, loss in LOSSES.items() if not (loss.formula and loss.source)] == []
    assert all(name in loss.trained_as for name, loss in LOSSES.items() if loss.trained_as)


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="`text` must hold the marks"):
        loss_tables.page_with_table("# Losses", LOSSES)
    with pytest.raises(ValueError, match="`text` must hold the line"):
        loss_tables.config_with_students("name = 'x'", LOSSES)


def test_the_toy_trains_two_steps_and_is_named_in_the_factor_levels_and_the_report(
    row: None, tiny_data: Path, teacher_folder: Path, tmp_path: Path
) -> None:
    config = {
        "name": "tiny",
        "data": {
            "folder": str(tiny_data),
            "limit": 24,
            "train": {"synthetic": "train-synthetic.parquet"},
            "test": {"synthetic": "test-synthetic.parquet", "real": "test-real.parquet"},
        },
        "teacher": {"model": f"local-dir:{teacher_folder}"},
        "student": {"model": "builtin:small_resnet", "kwargs": {"widths": [4, 8]}},
        "training": {"epochs": 1, "batch_size": 12, "precision": "fp32"},
        "views": {"count": 1},
        "students": {"l2": {"loss": {"l2": 1.0}}, "toy": {"loss": {"toy_push": 1.0}, "options": {"toy_push": {"push": 2.0}}}},
    }
    (tmp_path / "tiny.toml").write_text(tomli_w.dumps(config))
    experiment = read_experiment(tmp_path / "tiny.toml")

    assert train_grid(experiment, tmp_path / "run") == {}

    logged = {row["student"]: row for row in read_metrics(tmp_path / "run" / "metrics.jsonl")}
    assert np.isfinite(logged["toy-synthetic-s0"]["toy_push"])
    description = read_description(tmp_path / "run" / "students" / "toy-synthetic-s0" / "student.safetensors")
    assert (description["target"], description["negatives"], description["losses"]) == ("image", True, {"toy_push": 1.0})

    run = load_run(tmp_path / "run")
    diagnose(
        run.subjects, run.teacher, class_weights=run.class_weights, real=run.images["real"], synthetic=run.images["synthetic"],
        out=tmp_path / "run", name=run.name, probes=["transfer"],
    )  # fmt: skip
    report = read(tmp_path / "run")

    of_toy = next(student.levels for student in report.students if student.name == "toy-synthetic-s0")
    assert of_toy == levels({"toy_push": 1.0}, trained_on="synthetic", experiment=experiment)
    assert of_toy == {"target": "image", "negatives": "yes", "pool": "batch", "real_images": "0 %"}
    assert [(item.factor, item.having, item.other) for item in report.contrasts] == [("negatives", "toy", "l2")]
    assert "| negatives | no negatives | toy | L2 |" in (tmp_path / "run" / "summary.md").read_text(encoding="utf-8")
