"""A student whose images and texts are rotated together: every probe gives the numbers of the student itself, and the cosine does not apply."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from probes.embeddings import EmbeddingTable, embed
from probes.probe_input import ProbeInput
from probes.registry import PROBES, measure
from probes.text_space import TextSpace
from probes.transfer.probe import transfer

CLASSES, SIDE = 3, 16

TOLERANCE = {"attribution": 0.02, "discovery": 0.02, "separability": 0.06, "depth": 0.06}
"""Probes of which a part does depend on the axes: classifiers of standardised coordinates, mixtures, sums of many small products."""


COMPARED = {
    "attribution": lambda key: "zero_shot" in key and "deletion" in key,
    "discovery": lambda key: "component" not in key,  # directions of the student's own space, which the teacher's embeddings do not lie in
    "separability": lambda key: key.startswith("direction/"),
}
"""Scores that ask for classes, of probes that measure much else with classifiers of standardised coordinates."""


class Encoder(torch.nn.Module):
    """Two convolutions, pooled, and a rotation behind them."""

    def __init__(self, rotation: np.ndarray, seed: int = 0) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.first, self.second = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(8, 6, 3, padding=1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=draw) * 0.3
        self.rotation = torch.nn.Linear(6, len(rotation), bias=False)
        self.rotation.weight.data = torch.from_numpy(rotation).float()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.rotation(self.second(torch.relu(self.first(images - 0.5))).mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def rotation() -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(5).normal(size=(6, 6)))[0]


@pytest.fixture(scope="module")
def world(rotation):
    """Student, the same student rotated with its texts, a teacher, and the teacher's class weights (6, C)."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % CLASSES
    synthetic = np.arange(120) >= 60
    pixels = rng.integers(0, 120, (120, 3, SIDE, SIDE)).astype(np.uint8)
    pixels[np.arange(120), labels] += 90
    pixels[synthetic, :, :3, :3] = 250

    def seen(encoder: torch.nn.Module, name: str) -> ProbeInput:
        table = embed(
            encoder,
            [torch.from_numpy(pixels)],
            ids=[f"image-{row:03d}" for row in range(120)],
            labels=labels.tolist(),
            domain=np.where(synthetic, "synthetic", "real").tolist(),
            name=name,
        )
        return ProbeInput(table, [pixels], encoder, ("cat", "dog", "ship"))

    student, teacher = seen(Encoder(np.eye(6)).eval(), "student"), seen(Encoder(np.eye(6), seed=1).eval(), "teacher")
    means = np.stack([student.table.unit(labels == label).mean(axis=0) for label in range(CLASSES)], axis=1)
    weights = means - means.mean(axis=1, keepdims=True)
    rotated = seen(Encoder(rotation).eval(), "student")
    rotated = replace(rotated, table=replace(rotated.table, text_space=TextSpace(rotation @ weights), normalize=False))
    return student, rotated, teacher, weights


@pytest.mark.parametrize("name", sorted(PROBES.keys() - {"ladder"}))  # the ladder asks for no class
def test_a_rotation_of_images_and_texts_together_changes_no_number_but_the_cosine(name, world):
    student, rotated, teacher, weights = world
    kwargs = {"edited": 20} if name == "interventions" else {}

    plain, own = (measure(name, one, teacher, class_weights=weights, **kwargs) for one in (student, rotated))

    raw = ("cosine/", "shift/", "teacher/shift/")
    left_out = {key for key in plain.scores if key.startswith(raw)}
    assert {key for key in own.scores if key.startswith((*raw, "teacher_space/"))} == (
        {"teacher_space/zero_shot/real", "teacher_space/zero_shot/synthetic"} if name == "transfer" else set()
    )
    compared = {key for key in plain.scores.keys() - left_out if COMPARED.get(name, lambda key: True)(key)}
    differ = {key: abs(own.scores[key].value - plain.scores[key].value) for key in compared}
    assert differ
    assert max(differ.values()) < TOLERANCE.get(name, 1e-4), max(differ, key=differ.__getitem__)
    if name != "drift":  # the others ask for classes, and would see it if these were read with the teacher's texts
        lost = replace(rotated, table=replace(rotated.table, text_space=None, normalize=False))
        wrong = measure(name, lost, teacher, class_weights=weights, **kwargs)
        assert max(abs(wrong.scores[key].value - plain.scores[key].value) for key in compared if key in wrong.scores) > 0.1


def test_the_teachers_texts_score_a_rotated_student_beside_its_own(world, rotation):
    _, rotated, teacher, weights = world

    result = transfer(rotated.table, teacher.table, class_weights=weights)

    real = rotated.table.domain == "real"
    by_hand = ((rotated.table.embeddings @ weights).argmax(axis=1) == rotated.table.labels)[real].mean()
    own = ((rotated.table.embeddings @ (rotation @ weights)).argmax(axis=1) == rotated.table.labels)[real].mean()
    assert result.scores["teacher_space/zero_shot/real"].value == pytest.approx(by_hand)
    assert result.scores["zero_shot/real"].value == pytest.approx(own)
    assert own > by_hand + 0.2
    assert result.params["text_space"] == "own"


def test_its_own_logit_scale_decides_its_calibration_and_the_bias_nothing(world):
    _, rotated, _, weights = world
    space = rotated.table.text_space

    def error(scale: float, bias: float) -> float:
        table = replace(rotated.table, text_space=TextSpace(space.class_weights, scale, bias), normalize=False)
        return transfer(table, None, class_weights=weights).scores["ece/real"].value

    assert error(1.0, 0.0) != pytest.approx(error(100.0, 0.0), abs=1e-3)
    assert error(10.0, -10.0) == error(10.0, 0.0)


def test_without_teacher_and_class_weights_a_student_with_texts_of_its_own_is_measured(world):
    _, rotated, _, weights = world

    alone, beside = transfer(rotated.table, None), transfer(rotated.table, None, class_weights=weights)

    assert alone.scores["zero_shot/real"] == beside.scores["zero_shot/real"]
    assert not [name for name in alone.scores if name.startswith("teacher_space/")]


def test_a_student_of_another_dimension_is_scored_by_its_own_texts(world):
    _, _, teacher, weights = world
    labels, synthetic = teacher.table.labels, teacher.table.domain == "synthetic"
    ids, domain = teacher.table.ids, teacher.table.domain
    rows = np.eye(5)[labels] + 0.05 * np.random.default_rng(1).normal(size=(len(labels), 5))
    table = EmbeddingTable(ids, rows, labels, domain, "wide", text_space=TextSpace(np.eye(5)[:, :CLASSES]))

    result = transfer(table, teacher.table, class_weights=weights)

    assert result.scores["zero_shot/real"].value == 1.0
    assert synthetic.any()
    assert not [name for name in result.scores if name.startswith("teacher_space/")]


def test_drift_says_why_the_cosine_is_left_out(world):
    student, rotated, teacher, weights = world

    assert "rotation" in PROBES["drift"].function(rotated.table, teacher.table, class_weights=weights).params["cosine"]
    assert "cosine" not in PROBES["drift"].function(student.table, teacher.table, class_weights=weights).params


def test_spaces_match_where_their_columns_point_the_same_way(rotation):
    weights = np.random.default_rng(0).normal(size=(6, CLASSES))

    assert TextSpace(weights).matches(weights * [1, 20, 0.1])
    assert TextSpace(weights).matches(weights.astype(np.float16))
    assert not TextSpace(weights).matches(rotation @ weights)
    assert not TextSpace(weights).matches(weights[:, :2])
    assert not TextSpace(weights).matches(None)


@pytest.mark.parametrize("scale", [0.0, float("nan"), -1.0])
def test_a_logit_scale_that_is_not_positive_is_refused(scale):
    with pytest.raises(ValueError, match="`logit_scale` must be positive"):
        TextSpace(np.eye(3), scale)


def test_columns_without_a_direction_are_refused():
    with pytest.raises(ValueError, match="finite columns"):
        TextSpace(np.zeros((4, 2)))
