"""Losses in training: each trains, takes only what it needs, resumes to the same bits, and is refused where something is missing."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from distill import losses
from distill.losses import LOSSES
from distill.models.checkpoint import load_student, read_description, read_tensors
from distill.training import train
from distill.training.config import Experiment, read_experiment
from distill.training.grid import train_grid
from distill.training.metrics import read_metrics
from distill.training.targets import TeacherTargets

Write = Callable[..., Path]


class Killed(BaseException):
    """Stands for a SIGKILL: nothing of ours catches it."""


def short(write_config: Write, students: dict[str, dict], *, epochs: int = 1, batch_size: int = 16, **changes: object) -> Experiment:
    training = {"epochs": epochs, "batch_size": batch_size, "precision": "fp32"}
    return read_experiment(write_config(students=students, training=training, **changes))


def test_every_loss_trains_a_student_with_mixup_and_only_the_encoder_is_exported(write_config: Write, tmp_path: Path) -> None:
    students = {name: {"loss": {name: 1.0}} for name in LOSSES}
    experiment = short(write_config, students, batch_size=24, views={"count": 1, "mixup": 0.5})

    failed = train_grid(experiment, tmp_path / "run")

    assert failed == {}
    logged = {row["student"].removesuffix("-synthetic-s0"): row for row in read_metrics(tmp_path / "run" / "metrics.jsonl")}
    assert logged.keys() == LOSSES.keys()
    assert all(np.isfinite(row[name]) for name, row in logged.items())
    whole = {name: read_tensors(tmp_path / "run" / "students" / f"{name}-synthetic-s0" / "student.safetensors")[0] for name in LOSSES}
    assert {tuple(tensors) for tensors in whole.values()} == {tuple(whole["l2"])}
    description = read_description(tmp_path / "run" / "students" / "otter-synthetic-s0" / "student.safetensors")
    assert description["properties"] == {
        "targets": ["text"], "negatives": True, "soft": ["soft"], "needs": ["logit_scale", "momentum", "text"],
        "states": ["moving average of the student"],
    }  # fmt: skip


def test_students_start_alike_whatever_their_loss_keeps(write_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And their global draws are alike too, so that dropout is the same."""
    starts: dict[str, tuple] = {}
    real = train.mixed_loss

    def watched(batch: losses.Batch, weights: dict, **named: object) -> tuple:
        starts.setdefault(next(iter(weights)), (batch.student.detach().clone(), torch.get_rng_state()))
        return real(batch, weights, **named)

    monkeypatch.setattr(train, "mixed_loss", watched)
    names = ("l2", "crd_memory", "otter", "augmented_feature", "siglip", "masked_squared_l2")

    train_grid(short(write_config, {name: {"loss": {name: 1.0}} for name in names}), tmp_path / "run")

    assert all(torch.equal(starts[name][0], starts["l2"][0]) for name in names)
    assert all(torch.equal(starts[name][1], starts["l2"][1]) for name in names)


STATEFUL = {
    "ema": {"otter": 1.0},
    "bank": {"crd_memory": 1.0},
    "heads": {"augmented_feature": 0.5, "siglip": 0.5},
    "mask": {"masked_squared_l2": 1.0},
}


@pytest.mark.parametrize("kind", STATEFUL)
def test_killed_and_resumed_student_with_a_state_ends_in_the_same_bits(
    kind: str, write_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = short(write_config, {"a": {"loss": STATEFUL[kind]}}, epochs=3, views={"count": 2, "mixup": 0.3})
    train_grid(experiment, tmp_path / "whole")
    real, calls = train.mixed_loss, iter(range(100))

    def killing(*arguments: object, **named: object) -> tuple:
        if next(calls) == 5:  # in the midst of the second of three epochs of three steps
            raise Killed
        return real(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(train, "mixed_loss", killing)
        with pytest.raises(Killed):
            train_grid(experiment, tmp_path / "broken")
    train_grid(experiment, tmp_path / "broken", resume=True)

    for name in ("student", "resume"):
        first, second = (
            read_tensors(tmp_path / run / "students" / "a-synthetic-s0" / f"{name}.safetensors")[0] for run in ("whole", "broken")
        )
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
    kept = {"ema": "momentum.updates", "bank": "states.crd_memory.memory", "heads": "states.siglip.bias", "mask": "log_scale"}[kind]
    assert f"module/{kept}" in first


def test_teacher_is_not_asked_for_images_that_no_loss_looks_at(
    write_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = TeacherTargets.view

    def view(self: TeacherTargets, number: int, *rest: object) -> torch.Tensor:
        asked.append(number)
        return real(self, number, *rest)

    monkeypatch.setattr(TeacherTargets, "view", view)
    words = ["image_text_contrastive", "icl", "siglip", "supcon_text", "text_cosine", "class_cross_entropy"]

    train_grid(short(write_config, {"text": {"loss": dict.fromkeys(words, 1.0)}}), tmp_path / "text")

    assert asked == []
    train_grid(short(write_config, {"both": {"loss": {"text_cosine": 1.0, "l2": 1.0}}}), tmp_path / "both")
    assert set(asked) == {0}


def test_mask_hides_most_of_the_students_view_and_none_of_the_teachers(
    write_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The released code of masked feature distillation overwrites the masked embedding with the plain one: here they differ."""
    seen: list[losses.Batch] = []
    real = train.mixed_loss
    monkeypatch.setattr(train, "mixed_loss", lambda batch, *rest, **named: (seen.append(batch), real(batch, *rest, **named))[1])

    train_grid(short(write_config, {"a": {"loss": {"masked_squared_l2": 1.0}, "mask_ratio": 0.75}}), tmp_path / "run")

    assert all((batch.student - batch.masked).norm(dim=1).min() > 1e-3 for batch in seen)
    encoder, _ = load_student(tmp_path / "run" / "students" / "a-synthetic-s0" / "student.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in encoder.state_dict().values() if tensor.is_floating_point())


def test_options_reach_the_loss_and_the_checkpoint(write_config: Write, tmp_path: Path) -> None:
    students = {
        name: {"loss": {"zero_shot_kd": 1.0}, "options": {"zero_shot_kd": {"temperature": t}}} for name, t in (("cold", 1.0), ("hot", 50.0))
    }

    train_grid(short(write_config, students), tmp_path / "run")

    first = {row["student"]: row["zero_shot_kd"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")}
    assert abs(first["cold-synthetic-s0"] - first["hot-synthetic-s0"]) > 1e-4
    description = read_description(tmp_path / "run" / "students" / "hot-synthetic-s0" / "student.safetensors")
    assert description["options"] == {"zero_shot_kd": {"temperature": 50.0}}


def test_loss_that_turns_nan_stops_its_student_keeps_the_last_good_epoch_and_the_others_go_on(
    write_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))
    l2 = LOSSES["l2"].function
    late = losses.Loss(lambda b: l2(b) * (float("nan") if next(calls) == 4 else 1.0), "image", False, needs=("teacher",))
    monkeypatch.setitem(LOSSES, "spoilt", late)
    experiment = short(write_config, {"bad": {"loss": {"spoilt": 1.0}}, "good": {"loss": {"l2": 1.0}}}, epochs=2)

    failed = train_grid(experiment, tmp_path / "run")

    bad, good = (tmp_path / "run" / "students" / f"{name}-synthetic-s0" for name in ("bad", "good"))
    assert list(failed) == ["bad-synthetic-s0"]
    assert "the loss must stay finite, got nan in epoch 1, step 1" in json.loads((bad / "failed.json").read_text())["error"]
    kept, description = load_student(bad / "epoch-001.safetensors")
    assert description["epoch"] == 1
    assert all(torch.isfinite(tensor).all() for tensor in kept.state_dict().values())
    assert not (bad / "student.safetensors").exists()
    assert (good / "student.safetensors").is_file()


@pytest.mark.parametrize(
    ("students", "changes", "message"),
    [
        ({"a": {"loss": {"rkd_angle": 1.0}}}, {"batch_size": 2}, r"`loss` rkd_angle of a needs batches of at least 3 images, got 2; raise"),
        ({"a": {"loss": {"l2": 1.0, "pkt": 1.0}}}, {"batch_size": 2}, r"`loss` pkt of a needs batches of at least 3 images"),
    ],
)
def test_batch_that_is_too_small_for_a_loss_is_refused_before_training(
    students: dict, changes: dict, message: str, write_config: Write, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        train_grid(short(write_config, students, **changes), tmp_path / "run")

    assert not (tmp_path / "run" / "students").exists()


@pytest.mark.parametrize("name", ["image_text_contrastive", "class_cross_entropy", "zero_shot_kd", "supcon_image", "crd_memory"])
def test_loss_over_classes_is_refused_where_there_is_one(name: str) -> None:
    from distill.losses.unmet import refuse_unmet

    with pytest.raises(ValueError, match=rf"`loss` {name} of a needs at least 2 classes, got 1; add classes or use a loss without them"):
        refuse_unmet("a", {name: 1.0}, text="prompt", text_tower=True, classes=1, batch_size=16)
    refuse_unmet("a", {"l2": 1.0, "text_cosine": 1.0}, text="prompt", text_tower=True, classes=1, batch_size=16)


def test_captions_without_a_text_tower_are_refused_before_training(write_config: Write, tmp_path: Path) -> None:
    """A teacher with class weights only can serve class prompts, but no captions."""
    weights = np.eye(8, 3, dtype=np.float32)
    np.save(tmp_path / "weights.npy", weights)
    teacher = tomllib.loads(write_config().read_text())["teacher"] | {"class_weights": str(tmp_path / "weights.npy")}
    students = {name: {"loss": {"image_text_contrastive": 1.0}, "text": name} for name in ("prompt", "caption")}

    with pytest.raises(
        ValueError, match=r"`loss` image_text_contrastive of caption needs the teacher's text tower .*; use text = 'prompt'"
    ):
        train_grid(short(write_config, students, teacher=teacher), tmp_path / "run")

    del students["caption"]
    assert train_grid(short(write_config, students, teacher=teacher), tmp_path / "other") == {}


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"loss": {"l2": 1.0}, "temperature": "learned"}, r"`temperature` = 'learned' needs a loss that uses it, which l2 does not"),
        ({"loss": {"l2": 1.0}, "options": {"otter": {"epsilon": 1.0}}}, r"`options` must be of a loss in the mix \['l2'\], got 'otter'"),
        ({"loss": {"otter": 1.0}, "options": {"otter": {"eps": 1.0}}}, r"options of otter must be among \['epsilon', .*\], got 'eps'"),
        ({"loss": {"otter": 1.0}, "options": {"otter": {"epsilon": 0.0}}}, r"`epsilon` of otter must be in \[0.001, 1e\+06\], got 0"),
        ({"loss": {"otter": 1.0}, "ema_decay": 1.0}, r"students.a.ema_decay"),
        ({"loss": {"masked_squared_l2": 1.0}, "mask_ratio": 1.0}, r"students.a.mask_ratio"),
    ],
)
def test_bad_settings_of_losses_are_refused_in_one_line(cell: dict, message: str, write_config: Write) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_experiment(write_config(students={"a": cell}))

    assert "\n" not in str(caught.value)


def test_run_goes_on_after_the_format_has_grown_a_key(write_config: Write, tmp_path: Path) -> None:
    """The stored file is compared by what it says: one of an older version lacks keys whose defaults it meant."""
    experiment = short(write_config, {"a": {"loss": {"l2": 1.0}}})
    train_grid(experiment, tmp_path / "run")
    stored = tmp_path / "run" / "config.toml"
    older = [line for line in stored.read_text().splitlines() if not line.startswith(("ema_decay", "mask_ratio", "optimizer", "epsilon"))]
    assert len(older) == len(stored.read_text().splitlines()) - 4
    stored.write_text("\n".join(older))

    assert train_grid(experiment, tmp_path / "run", resume=True) == {}
