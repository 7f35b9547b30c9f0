"""Losses and students of other people's packages: found by entry points, trained, and refused in plain words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from distill.losses import LOSSES, Loss, find_loss
from distill.models.checkpoint import load_student
from distill.models.encoder import Encoder
from distill.models.student import build_backbone
from distill.training.config import read_experiment
from distill.training.grid import train_grid
from distill.training.metrics import read_metrics

MODULE = """
import torch
from torch import nn
from distill.models.encoder import Encoder
from distill.losses import Loss, Option

half = Loss(lambda b, factor: factor * (b.student - b.teacher).square().mean(), "image", False, needs=("teacher",), options={"factor": Option(0.5, 0, 9)})

class Counted(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))
    def forward(self, batch):
        return (self.bias - (batch.student * batch.teacher).sum(dim=1)).square().mean()

learned = Loss(None, "image", False, needs=("teacher",), build=lambda setting: Counted(), state="learned bias")
wrong = 3

def tiny(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

def whole():
    return Encoder(tiny(), mean=(0.5, 0.5, 0.5))

def nothing():
    return None
"""

ENTRIES = """[synthgap.losses]
half = synthgap_extra:half
learned = synthgap_extra:learned
wrong = synthgap_extra:wrong
broken = synthgap_extra_gone:half

[synthgap.students]
tiny = synthgap_extra:tiny
whole = synthgap_extra:whole
nothing = synthgap_extra:nothing
"""


def install(folder: Path, *, name: str = "synthgap-extra", entries: str = ENTRIES) -> None:
    """Lay a package's metadata beside its module, as an installer does."""
    metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entries)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = tmp_path / "site"
    install(site)
    (site / "synthgap_extra.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(site))
    return site


def test_losses_and_students_of_a_package_train(package: Path, write_config: Callable[..., Path], tmp_path: Path) -> None:
    experiment = read_experiment(
        write_config(
            students={"mix": {"loss": {"half": 1.0, "learned": 1.0, "l2": 0.1}, "options": {"half": {"factor": 2.0}}}},
            student={"model": "plugin:tiny", "kwargs": {"width": 6}},
            training={"epochs": 1, "batch_size": 16, "precision": "fp32"},
        )
    )

    failed = train_grid(experiment, tmp_path / "run")

    assert failed == {}
    row = read_metrics(tmp_path / "run" / "metrics.jsonl")[0]
    assert row["half"] > 0
    assert row["learned"] > 0
    encoder, description = load_student(tmp_path / "run" / "students" / "mix-synthetic-s0" / "student.safetensors")
    assert description["spec"] == "plugin:tiny"
    assert (description["target"], description["negatives"]) == ("image", False)
    assert encoder(torch.rand(2, 3, 16, 16)).shape == (2, 8)


def test_loss_of_a_package_is_found_by_its_name(package: Path) -> None:
    loss = find_loss("half")

    assert isinstance(loss, Loss)
    assert loss.defaults() == {"factor": 0.5}


def test_student_of_a_package_may_bring_its_own_normalisation(package: Path) -> None:
    encoder = build_backbone("plugin:whole")

    assert isinstance(encoder, Encoder)
    assert encoder.mean.flatten().tolist() == [0.5, 0.5, 0.5]


def test_our_own_losses_cannot_be_replaced(package: Path, tmp_path: Path) -> None:
    install(package, name="shadow", entries="[synthgap.losses]\nl2 = synthgap_extra:half\n")

    assert find_loss("l2").options == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_loss("hlaf"), rf"`loss` must name one of {len(LOSSES) + 4} losses .*, got 'hlaf'; did you mean half"),
        (lambda: find_loss("wrong"), r"`wrong` of the group synthgap.losses must be a distill.losses.Loss, got int; build one"),
        (
            lambda: find_loss("broken"),
            r"`broken` of the package synthgap-extra must import, got ModuleNotFoundError: .*; mend or uninstall it",
        ),
        (
            lambda: build_backbone("plugin:huge"),
            r"`student` plugin:huge must be offered by an installed package, got \['nothing', 'tiny', 'whole'\]",
        ),
        (lambda: build_backbone("plugin:nothing"), r"plugin:nothing must return a torch.nn.Module, got NoneType"),
        (lambda: build_backbone("plugin:tiny", {"depth": 3}), r"`kwargs` must be what plugin:tiny takes, got \['depth'\]"),
    ],
)
def test_bad_plugins_are_refused_in_plain_words(call: Callable[[], object], message: str, package: Path) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_name_that_two_packages_offer_is_refused(package: Path) -> None:
    install(package, name="other-extra")

    with pytest.raises(ValueError, match=r"`half` must be offered by one package in synthgap.losses, got other-extra and synthgap-extra"):
        find_loss("half")


def test_without_a_package_the_name_is_unknown() -> None:
    with pytest.raises(ValueError, match=r"`loss` must name one of \d+ losses .*, got 'half'; did you mean"):
        find_loss("half")
