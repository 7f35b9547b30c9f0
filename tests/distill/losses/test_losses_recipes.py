"""The named configs of published recipes train, on other data too; and the optimiser's settings reach the optimiser."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from app.cli import main
from distill.losses import LOSSES
from distill.training.config import read_experiment
from distill.training.loop import Loop, TrainingConfig, make_accelerator
from distill.training.metrics import read_metrics

CONFIGS = Path(__file__).parents[3] / "configs"
RECIPES = {"clip_kd": 10, "popp": 13, "farhat_chen": 5, "otter": 5}


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_trains_on_data_named_on_the_command_line(
    name: str, tiny_data: Path, teacher_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {f"data.{part}.{domain}": f"{part}-{domain}.parquet" for part in ("train", "test") for domain in ("synthetic", "real")}
    settings = {
        "data.folder": tiny_data, "data.task": "''", "data.image_size": 16, **parts, "teacher.model": teacher_folder,
        "student.kwargs": "{ widths = [4] }", "training.epochs": 1, "training.batch_size": 24, "training.precision": "fp32", "views.count": 1,
    }  # fmt: skip
    arguments = [argument for key, value in settings.items() for argument in ("--set", f"{key}={value}")]
    monkeypatch.setattr(sys, "argv", ["synthgap", "train", str(CONFIGS / f"{name}.toml"), "--out", str(tmp_path / "run"), *arguments])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code in (0, None), capsys.readouterr().err
    assert len({row["student"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")}) == RECIPES[name]


def test_every_loss_has_its_student_in_the_table_of_losses() -> None:
    experiment = read_experiment(CONFIGS / "losses_cifake.toml")

    assert experiment.students.keys() == LOSSES.keys()
    assert all(name in cell.loss for name, cell in experiment.students.items())
    assert experiment.data.test == read_experiment(CONFIGS / "cifake.toml").data.test
    assert experiment.teacher == read_experiment(CONFIGS / "cifake.toml").teacher


def test_mixing_parameter_of_popp_adds_up_to_one() -> None:
    students = read_experiment(CONFIGS / "popp.toml").students

    mixes = {name: cell.loss for name, cell in students.items() if name.startswith("a")}

    assert all(sum(mix.values()) == 1.0 for mix in mixes.values())
    assert {round(100 * mix.get("image_text_contrastive", 0.0)) for mix in mixes.values()} == {0, 25, 50, 75, 100}
    assert all(round(100 * mix.get("image_text_contrastive", 0.0)) == int(name[1:4]) for name, mix in mixes.items())
    assert {cell.temperature for name, cell in students.items() if name.endswith("t007")} == {0.07}
    assert {students[name].temperature for name in ("a025", "a050", "a075", "a100")} == {1.0}


def test_sgd_steps_and_resumes_as_torchs(tmp_path: Path) -> None:
    config = TrainingConfig(
        optimizer="sgd", betas=(0.8, 0.9), learning_rate=0.1, weight_decay=0.0, schedule="constant", warmup=0.0, clip_norm=1e6, epochs=2,
        batch_size=4, precision="fp32",
    )  # fmt: skip
    images = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))

    def make(part: TrainingConfig) -> Loop:
        torch.manual_seed(0)
        return Loop(nn.Linear(3, 1), part, n=8, seed=0, accelerator=make_accelerator("fp32"), state=tmp_path / "state")

    whole = make(config)
    whole.run(lambda indices, epoch: (whole.module(images[indices]).square().mean(), {}), lambda epoch, means: None)
    ended = whole.raw.weight.detach().clone()
    (tmp_path / "state").unlink()
    first = make(config.model_copy(update={"epochs": 1}))
    first.run(lambda indices, epoch: (first.module(images[indices]).square().mean(), {}), lambda epoch, means: None)
    again = make(config)
    again.resume()
    again.run(lambda indices, epoch: (again.module(images[indices]).square().mean(), {}), lambda epoch, means: None)

    from distill.training.loop import image_order

    torch.manual_seed(0)
    linear = nn.Linear(3, 1)
    theirs = torch.optim.SGD(linear.parameters(), lr=0.1, momentum=0.8)
    for epoch in range(2):
        for part in image_order(0, epoch, 8).split(4):
            theirs.zero_grad()
            linear(images[part]).square().mean().backward()
            theirs.step()
    torch.testing.assert_close(ended, linear.weight.detach())
    assert torch.equal(again.raw.weight, ended)


def test_betas_and_epsilon_reach_adam_and_bad_betas_are_refused(tmp_path: Path) -> None:
    config = TrainingConfig(betas=(0.9, 0.98), epsilon=1e-6, batch_size=2)

    loop = Loop(nn.Linear(3, 1), config, n=2, seed=0, accelerator=make_accelerator("fp32"), state=tmp_path / "state")

    assert all(group["betas"] == (0.9, 0.98) and group["eps"] == 1e-6 for group in loop.optimizer.param_groups)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\), got \(0.9, 1.0\)"):
        TrainingConfig(betas=(0.9, 1.0))
