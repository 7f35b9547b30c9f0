"""Web shards as a training set: which images an epoch shows, what the teacher sees, resuming, refusals; and starting from a checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from distill.errors import DistillError
from distill.models.checkpoint import load_student, read_description
from distill.models.encoder import weights_hash
from distill.models.teacher import load_teacher
from distill.training import web_shards
from distill.training.config import read_experiment
from distill.training.grid import train_grid
from distill.training.loop import make_accelerator
from distill.training.smoke import _images, _shard
from distill.training.views import ViewConfig
from distill.training.web_shards import Shards, stream_images


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three shards of 8, 8 and 7 images, each of noise of its own, without classes; one image of the second is broken."""
    folder = tmp_path_factory.mktemp("web")
    for number, count in enumerate((8, 8, 7)):
        images = list(_images(count, "real", at=number))
        if number == 1:
            images[2] = (images[2][0][:60], 0)
        _shard(folder / f"{number}.tar", images, labelled=False)
    return folder


def _open(folder: Path, *, images: int = 6, together: int = 1, epochs: int = 4) -> Shards:
    return Shards("{0..2}.tar", folder=str(folder), images=images, together=together, size=16, epochs=epochs)


def test_an_epoch_shows_the_next_shards_and_comes_round(shards: Path) -> None:
    source = _open(shards)
    epochs = [source.epoch(number).clone() for number in range(4)]

    assert all(epoch.shape == (6, 3, 16, 16) for epoch in epochs)
    assert torch.equal(epochs[3], epochs[0]), "three shards, one an epoch: the fourth epoch is the first again"
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(_open(shards).epoch(2), epochs[2]), "an epoch can be read without those before it"
    both = _open(shards, images=13, together=2).epoch(0)
    assert torch.equal(both[:6], epochs[0])
    assert torch.equal(both[8:13], epochs[1][:5]), "shard after shard, the broken image left out"


def test_the_teacher_sees_the_students_views(shards: Path, teacher_folder: Path) -> None:
    teacher = load_teacher(str(teacher_folder))
    images = stream_images(_open(shards), teacher, ViewConfig(), accelerator=make_accelerator("fp32"))
    indices = torch.tensor([4, 0, 3])

    seen = images.views.images(images.pixels, indices, 2)
    targets = images.targets.view(2)[indices]

    torch.testing.assert_close(targets, teacher.embed_images(seen), rtol=0, atol=1e-6)
    fresh = stream_images(_open(shards), teacher, ViewConfig(), accelerator=make_accelerator("fp32"))
    assert torch.equal(fresh.views.images(fresh.pixels, indices, 2), seen), "a view is a function of seed, epoch and image"
    assert images.views.config.count == 4
    assert images.pixels.shape == (6, 3, 16, 16)


def test_a_resumed_stage_ends_in_the_same_bits_and_starts_the_next(
    shards: Path, write_config: Callable[..., Path], tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {
        "folder": str(tiny_data),
        "train": {"synthetic": "train-synthetic.parquet"},
        "test": {"real": "test-real.parquet"},
        "streams": {"web": {"shards": f"{shards}/{{0..2}}.tar", "images": 6}},
    }
    students = {"l2": {"loss": {"l2": 1.0}, "trained_on": ["web"]}}
    training = {"epochs": 3, "batch_size": 3, "precision": "fp32"}
    experiment = read_experiment(write_config(data=data, students=students, training=training))
    assert train_grid(experiment, tmp_path / "whole") == {}

    read = web_shards.Shards.read

    def stop(self: Shards, number: int) -> torch.Tensor:
        if number == 2:
            raise KeyboardInterrupt
        return read(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(web_shards.Shards, "read", stop)
        with pytest.raises(KeyboardInterrupt):
            train_grid(experiment, tmp_path / "cut")
    assert train_grid(experiment, tmp_path / "cut", resume=True) == {}
    final = "students/l2-web-s0/student.safetensors"
    whole = load_student(tmp_path / "whole" / final)[0]
    assert weights_hash(load_student(tmp_path / "cut" / final)[0]) == weights_hash(whole)

    second = experiment.model_dump() | {"students": {"l2": {"loss": {"l2": 1.0}}}}
    second["student"] |= {"init": str(tmp_path / "whole" / final)}
    second["training"] |= {"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    stage2 = type(experiment).model_validate(second)
    assert train_grid(stage2, tmp_path / "second") == {}
    after = tmp_path / "second" / "students" / "l2-synthetic-s0" / "student.safetensors"
    torch.testing.assert_close(load_student(after)[0].projection.weight, whole.projection.weight, rtol=0, atol=1e-6)
    assert read_description(after)["init"] == str(tmp_path / "whole" / final)

    second["student"] |= {"init": str(tmp_path / "gone.safetensors")}
    with pytest.raises(FileNotFoundError, match=r"`student.init` must be a checkpoint that exists, got .*gone"):
        train_grid(type(experiment).model_validate(second), tmp_path / "third")


def test_what_a_stream_cannot_serve_is_refused_before_training(shards: Path, write_config: Callable[..., Path], tmp_path: Path) -> None:
    def train(loss: str, **changes: object) -> None:
        base = read_experiment(write_config()).model_dump()
        given = {"shards": f"{shards}/{{0..2}}.tar", "images": 6} | changes
        base["data"] |= {"streams": {"web": given}}
        base["students"] = {"one": {"loss": {loss: 1.0}, "trained_on": ["web"]}}
        train_grid(type(read_experiment(write_config())).model_validate(base), tmp_path / "run")

    with pytest.raises(DistillError, match="`loss` of one must need images alone on the stream web, got one that needs text"):
        train("image_text_contrastive")
    with pytest.raises(FileNotFoundError, match=r"shard .*gone.tar must exist"):
        train("l2", shards=f"{shards}/gone.tar")
    with pytest.raises(ValueError, match="`together` must be at most the number of shards, 3, got 4"):
        train("l2", together=4)
    with pytest.raises(ValueError, match="must be at most those in 1 shards, got 9 and only 8 good ones"):
        train("l2", images=9)
    shutil.rmtree(tmp_path / "run")
