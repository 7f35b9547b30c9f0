"""A class-conditional generator trained here: it learns classes, resumes to the same bits and is an ordinary diffusers pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from distill.data.split import Split, load_split
from distill.errors import DistillError
from distill.generate.autoencoder import build, encode
from distill.generate.class_conditional import NAME, ClassConditionalConfig, train_generator
from distill.generate.pipelines import load_pipeline
from distill.generate.settings import GeneratorConfig
from distill.generate.sources import first_per_class
from distill.generate.synthesize import SynthesisConfig, synthesize
from distill.text.contexts import plain_prompts

TINY = ClassConditionalConfig(width=32, layers=1, steps=4, batch_size=8)


@pytest.fixture(scope="module")
def few(tiny_data: Path) -> Split:
    """Four images of each class, 16 x 16; the class is one bright colour."""
    return first_per_class(load_split(tiny_data / "train-real.parquet"), 4)


def test_first_per_class_keeps_the_first_of_every_class_in_order(tiny_data: Path) -> None:
    whole = load_split(tiny_data / "train-real.parquet")

    few = first_per_class(whole, 3)

    assert np.bincount(few.labels).tolist() == [3, 3, 3]
    assert few.ids.tolist() == whole.ids[:9].tolist()  # its labels go round
    with pytest.raises(ValueError, match="`count` must be at least 1 image of each class, got 0"):
        first_per_class(whole, 0)


def test_the_encoder_is_the_principal_components_of_patches() -> None:
    """Twelve numbers for 48: on patches of twelve components nothing is lost, so a linear map of the latents gives the pixels back."""
    random = np.random.default_rng(0)
    axes = random.normal(size=(12, 48))
    patches = random.normal(size=(400, 12)) @ axes
    patches = 128 + 100 * patches / np.abs(patches).max()
    # (N, 2, 2) patches of 4 x 4 pixels and 3 channels
    images = torch.from_numpy(
        patches.reshape(100, 2, 2, 4, 4, 3).transpose(0, 5, 1, 3, 2, 4).reshape(100, 3, 8, 8).round().astype(np.uint8)
    )

    latents = encode(build(images), images)
    rows = latents.permute(0, 2, 3, 1).reshape(400, 12).double().numpy()
    design = np.column_stack([rows, np.ones(400)])
    residual = patches - design @ np.linalg.lstsq(design, patches, rcond=None)[0]

    assert latents.shape == (100, 12, 2, 2)
    assert np.abs(np.corrcoef(rows.T) - np.eye(12)).max() < 0.02
    assert residual.std() < 0.6  # rounding to whole grey levels has 0.29; a lost component would be above 5


def test_a_trained_generator_is_a_pipeline_that_knows_the_classes(few: Split, tmp_path: Path) -> None:
    folder = train_generator(few, tmp_path / "generator", config=TINY)
    config = SynthesisConfig(class_names=list(few.class_names), generator=GeneratorConfig.named(str(folder), steps=2), per_class=2)

    synthesize(config, plain_prompts(few.class_names, ["{}"]), tmp_path / "set")
    pipeline = load_pipeline(config.generator)

    assert pipeline.class_ids(["ship", "cat"]) == [2, 0]
    assert load_split(tmp_path / "set").pixels().shape == (6, 3, 16, 16)
    assert set(load_split(tmp_path / "set").column("generator")) == {NAME}


def test_killed_and_resumed_training_ends_in_the_same_bits(few: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distill.training import loop

    train_generator(few, tmp_path / "whole", config=TINY)
    save, calls = loop.Loop._save, []

    def killed(self: loop.Loop) -> None:
        save(self)
        calls.append(self)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.Loop, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        train_generator(few, tmp_path / "cut", config=TINY)
    monkeypatch.undo()
    assert not (tmp_path / "cut" / NAME).exists()
    train_generator(few, tmp_path / "cut", config=TINY, resume=True)

    for part in ("vae", "transformer"):
        file = Path(NAME) / part / "diffusion_pytorch_model.safetensors"
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_other_images_or_settings_are_refused_and_a_finished_generator_is_kept(few: Split, tmp_path: Path) -> None:
    folder = train_generator(few, tmp_path, config=TINY)

    assert train_generator(few, tmp_path, config=TINY, resume=True) == folder
    with pytest.raises(FileExistsError, match="holds a generator; add --resume"):
        train_generator(few, tmp_path, config=TINY)
    with pytest.raises(DistillError, match=r"`images` must be '\w+', with which .* was begun, got '\w+'"):
        train_generator(few.select([0, 1, 2]), tmp_path, config=TINY, resume=True)
    with pytest.raises(DistillError, match=r"`config.steps` must be \d+, with which .* was begun, got 12345"):
        train_generator(few, tmp_path, config=TINY.model_copy(update={"steps": 12345}), resume=True)


@pytest.mark.slow
def test_classes_come_out_in_their_colours(tiny_data: Path, tmp_path: Path) -> None:
    """The classes of the tiny data are a bright red, green or blue: their channel must be the brightest in nearly every picture."""
    split = load_split(tiny_data / "train-real.parquet")
    config = ClassConditionalConfig(width=64, layers=2, steps=600, batch_size=16)
    folder = train_generator(split, tmp_path / "generator", config=config)
    made = SynthesisConfig(
        class_names=list(split.class_names), generator=GeneratorConfig.named(str(folder), steps=10, guidance=1.5), per_class=10
    )

    synthesize(made, plain_prompts(split.class_names, ["{}"]), tmp_path / "set")
    drawn = load_split(tmp_path / "set")
    brightest = drawn.pixels().mean(axis=(2, 3)).argmax(axis=1)

    # Chance is 10 of 30; 24 of 30 by chance has a probability below 1e-6.
    assert (brightest == drawn.labels).sum() >= 24
