"""Texts written from templates, and the factor levels that follow from a student's recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from distill.data.split import Split, load_split
from distill.losses import LOSSES, find_loss
from distill.text.captions import placeholders, write_texts
from distill.training.config import read_experiment
from distill.training.experiment import open_experiment
from distill.training.factor_levels import levels, levels_of
from distill.training.grid_session import recipes

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def split(tiny_data: Path) -> Split:
    return load_split(str(tiny_data / "train-synthetic.parquet"))


def test_each_image_gets_one_template_with_its_class_and_a_drawn_word(split: Split) -> None:
    written = write_texts(split, ["a {} {where}.", "{}, {where}"], {"where": ["by day", "at night"]})

    names = [split.class_names[label] for label in split.labels]
    assert all(
        text in {f"a {n} by day.", f"a {n} at night.", f"{n}, by day", f"{n}, at night"} for n, text in zip(names, written, strict=True)
    )
    assert len(set(written)) == 12
    assert written == write_texts(split, ["a {} {where}.", "{}, {where}"], {"where": ["by day", "at night"]})
    assert written != write_texts(split, ["a {} {where}.", "{}, {where}"], {"where": ["by day", "at night"]}, seed=1)


def test_a_place_can_be_a_column_of_the_data() -> None:
    from distill.packs import pocket

    part = pocket.pocket_split("test-synthetic")

    written = write_texts(part.select(range(5)), ["a {ink} {} on {ground}"], {})

    digit, ink, ground = (part.column(name)[0] for name in ("digit", "ink", "ground"))
    assert written[0] == f"a {ink} {digit} on {ground}"


def test_a_place_that_nothing_fills_is_refused(split: Split) -> None:
    with pytest.raises(ValueError, match=r"places among \['where'\], got \{colour\}"):
        write_texts(split, ["a {colour} {}"], {"where": ["here"]})


@pytest.mark.parametrize(("template", "match"), [("a photo", "one {}"), ("{} {}", "one {}"), ("a {", "braces that match")])
def test_a_template_without_its_place_is_refused(template: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        placeholders(template)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l2", {"target": "image", "negatives": "no"}),
        ("image_image_contrastive", {"target": "image", "negatives": "yes", "pool": "batch", "labels": "hard", "temperature": "0.07"}),
        (
            "image_text_contrastive",
            {"target": "text", "negatives": "yes", "pool": "batch", "labels": "hard", "temperature": "0.07", "text": "class prompt"},
        ),
        ("text_cosine", {"target": "text", "negatives": "no", "text": "class prompt"}),
        ("supcon_text", {"target": "text", "negatives": "yes", "pool": "batch", "labels": "hard", "positives": "class"}),
        ("image_affinity_kl", {"target": "image", "negatives": "yes", "pool": "batch", "labels": "soft"}),
        ("affinity_kl", {"target": "text", "negatives": "yes", "pool": "batch", "labels": "soft", "text": "class prompt"}),
        ("zero_shot_kd", {"target": "text", "negatives": "yes", "pool": "classes", "labels": "soft", "text": "class prompt"}),
        ("class_cross_entropy", {"target": "text", "negatives": "yes", "pool": "classes", "labels": "hard", "text": "class prompt"}),
    ],
)
def test_levels_follow_from_what_a_loss_says_of_itself(name: str, expected: dict[str, str]) -> None:
    found = levels({name: 1.0}, temperature=0.07)

    assert {factor: level for factor, level in found.items() if factor in expected} == expected
    assert ("temperature" in found) == ("logit_scale" in find_loss(name).needs)


def test_a_mix_of_losses_has_the_properties_of_its_terms() -> None:
    found = levels({"l2": 0.5, "image_text_contrastive": 0.5}, temperature="learned")

    assert found["target"] == "image and text"
    assert found["negatives"] == "yes"
    assert found["temperature"] == "learned"


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_levels(name: str) -> None:
    found = levels({name: 1.0}, temperature=0.07, trained_on="synthetic")

    assert found["real_images"] == "0 %"
    assert set(found) <= {"target", "negatives", "pool", "labels", "positives", "temperature", "text", "real_images"}


STUDENTS = {
    "plain": {"loss": {"l2": 1.0}, "trained_on": ["synthetic", "mix-10", "real"]},
    "mean": {"loss": {"image_text_contrastive": 1.0}, "temperature": 0.01},
    "drawn": {"loss": {"image_text_contrastive": 1.0}, "text": "drawn"},
    "one": {"loss": {"image_text_contrastive": 1.0}, "text": "one"},
    "place": {"loss": {"image_text_contrastive": 1.0}, "text": "place"},
    "caption": {"loss": {"image_text_contrastive": 1.0}, "text": "caption"},
}
TEXTS = {
    "drawn": {"templates": ["a {}", "the {}"]},
    "one": {"templates": ["a {}"]},
    "place": {"templates": ["a {} {where}"], "words": {"where": ["here", "there"]}},
}


def experiment_of(write_config: Write, folder: Path, **changes: object) -> Path:
    return write_config(
        data={
            "folder": str(folder),
            "train": {"synthetic": "train-synthetic.parquet", "real": "train-real.parquet"},
            "test": {"synthetic": "test-synthetic.parquet", "real": "test-real.parquet"},
            "limit": 40,
            "mixtures": {"mix-10": 0.1},
        },
        **({"students": STUDENTS, "texts": TEXTS} | changes),
    )


def test_levels_name_texts_prompts_and_mixtures_of_an_experiment(write_config: Write, tiny_data: Path) -> None:
    experiment = read_experiment(experiment_of(write_config, tiny_data))

    found = {
        recipe.name: levels_of(
            {"losses": recipe.loss, "text": recipe.text, "temperature": recipe.temperature, "trained_on": recipe.trained_on}, experiment
        )[0]
        for recipe in recipes(experiment)
    }

    assert [found[f"plain-{name}-s0"]["real_images"] for name in ("synthetic", "mix-10", "real")] == ["0 %", "10 %", "100 %"]
    text = {name: (found[f"{name}-synthetic-s0"]["text"], found[f"{name}-synthetic-s0"].get("prompts")) for name in [*STUDENTS][1:]}
    assert text == {
        "mean": ("class prompt", "1"),
        "drawn": ("class prompt", "one of 2"),
        "one": ("class prompt", "1"),
        "place": ("class and context", None),
        "caption": ("caption", None),
    }
    assert found["mean-synthetic-s0"]["temperature"] == "0.01"


def test_a_checkpoint_of_another_version_has_no_levels() -> None:
    assert levels_of({}) == ({}, "")
    assert levels_of({"losses": {"of_the_future": 1.0}}) == ({}, "")


def test_the_key_of_a_loss_tells_weights_and_options_apart() -> None:
    keys = [levels_of({"losses": {"l2": weight}, "options": options})[1] for weight, options in ((1, {}), (2, {}), (1, {"l2": {"x": 1}}))]

    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"texts": {}}, r"`text` of drawn must be one of \['prompt', 'caption'\], got 'drawn'"),
        ({"texts": TEXTS | {"prompt": {"templates": ["{}"]}}}, "'prompt' is taken"),
        ({"texts": TEXTS | {"place": {"templates": ["a {}"], "words": {"where": ["x"]}}}}, "where} has none"),
        ({"texts": TEXTS | {"place": {"templates": ["a {} {where}"], "words": {"where": []}}}}, "must hold a word"),
        ({"texts": TEXTS | {"place": {"templates": ["a {}"], "word": {}}}}, "did you mean words"),
    ],
)
def test_texts_that_cannot_be_meant_are_refused(write_config: Write, tiny_data: Path, changes: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read_experiment(experiment_of(write_config, tiny_data, **changes))


def test_a_text_whose_column_is_not_there_is_refused_before_training(write_config: Write, tiny_data: Path) -> None:
    config = experiment_of(write_config, tiny_data, texts=TEXTS | {"place": {"templates": ["a {ink} {}"]}})

    with pytest.raises(ValueError, match=r"got \{ink\} for"):
        open_experiment(read_experiment(config))
