"""The confound ladder: what each rung takes away, planted confounds that fall with their rung, and silence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from probes.compute import memoize
from probes.embeddings import embed
from probes.ladder.pixel_features import pixel_features
from probes.ladder.probe import CONTROLS, apply_controls, ladder
from probes.probe_input import ProbeInput


@pytest.fixture(autouse=True)
def _forget():
    memoize.forget()


class Eye(nn.Module):
    """Sees mean colours, and the power of the finest stripes."""

    def forward(self, images):
        fine = (images[..., ::2] - images[..., 1::2]).mean(dim=(1, 2, 3)).abs()
        return torch.cat([images.mean(dim=(2, 3)), 10 * fine[:, None], torch.full_like(fine[:, None], 0.5)], dim=1)


def _sight(cue: str, *, images=160, seed=0, **facts):
    rng = np.random.default_rng(seed)
    synthetic = np.arange(images) >= images // 2
    pixels = np.repeat(np.repeat(rng.integers(60, 180, size=(images, 3, 4, 4)), 4, axis=2), 4, axis=3)
    pixels += rng.integers(-25, 26, size=pixels.shape)
    if cue == "colour":  # as bright as before: 0.299 * 20 = 0.114 * 52
        pixels[synthetic, 0] += 20
        pixels[synthetic, 2] -= 52
    if cue == "stripes":
        pixels[synthetic, :, :, ::2] += 15
        pixels[synthetic, :, :, 1::2] -= 15
    pixels = pixels.clip(0, 255).astype(np.uint8)
    eye = Eye().eval()
    table = embed(
        eye,
        [torch.from_numpy(pixels)],
        ids=[f"i{row}" for row in range(images)],
        labels=np.arange(images) % 2,
        domain=np.where(synthetic, "synthetic", "real"),
        name="student",
        metadata=facts or None,
    )
    return ProbeInput(table, [pixels], eye, ("a", "b"))


def test_each_rung_takes_away_what_it_says():
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    power = {
        rung: float((apply_controls(images, rung)[..., 1:] - apply_controls(images, rung)[..., :-1]).abs().mean()) for rung in CONTROLS
    }

    assert torch.equal(apply_controls(images, "raw"), images)
    assert power["low_pass"] < 0.5 * power["resize"] < 0.5 * power["codec"]
    grey = apply_controls(images, "grey")
    torch.testing.assert_close(grey[:, 0], grey[:, 2])
    assert not torch.allclose(apply_controls(images, "resize")[:, 0], apply_controls(images, "resize")[:, 2], atol=0.05)
    with pytest.raises(ValueError, match="`control` must be one of"):
        apply_controls(images, "sepia")


def test_a_rung_does_not_depend_on_the_batch():
    images = torch.rand(5, 3, 17, 23, generator=torch.Generator().manual_seed(1))

    for rung in CONTROLS:
        alone = torch.cat([apply_controls(images[i : i + 1], rung) for i in range(5)])
        torch.testing.assert_close(alone, apply_controls(images, rung), atol=1e-5, rtol=0)
        assert alone.shape == images.shape


def test_a_colour_cast_falls_at_the_grey_rung():
    scores = ladder(_sight("colour"), None).scores

    for who in ("embedding", "pixels"):
        assert scores[f"{who}/auc/resize"].low > 0.75
        assert scores[f"{who}/auc/grey"].value < 0.65
        assert scores[f"survives/{who}/codec"].low > 0.5
        assert scores[f"survives/{who}/grey"].high < 0.7


def test_fine_stripes_fall_at_the_latest_when_the_detail_goes():
    scores = ladder(_sight("stripes"), None).scores

    assert scores["embedding/auc/raw"].low > 0.9
    assert scores["pixels/auc/raw"].low > 0.9
    assert scores["survives/embedding/low_pass"].value < 0.5


def test_equal_domains_separate_on_no_rung():
    """Null: of ten intervals, each of which may miss its chance once in 20, at most one does. Where raw does not separate nothing survives."""
    scores = ladder(_sight("none", seed=2), None).scores

    assert not [name for name in scores if name.startswith("survives")]
    assert sum(not score.low <= score.chance <= score.high for score in scores.values()) <= 1


def test_the_teacher_stands_beside_is_remembered_and_a_twin_has_no_excess():
    student = _sight("colour")
    told = []

    first = ladder(student, _sight("colour"), progress=lambda *at: told.append(at))
    again = ladder(student, _sight("colour"))

    assert first.to_dict() == again.to_dict()
    assert told == [(number, 5) for number in range(6)]
    for rung in CONTROLS:
        assert first.scores[f"excess/embedding/auc/{rung}"].value == 0.0


def test_file_facts_are_the_lowest_rung():
    told = _sight("none", codec=np.where(np.arange(160) >= 80, "png", "jpeg"))

    assert ladder(told, None).scores["metadata/auc"].value == 1.0
    assert "metadata/auc" not in ladder(_sight("none"), None).scores


def test_images_too_small_are_refused():
    student = _sight("none")
    tiny = ProbeInput(student.table, [np.zeros((160, 3, 6, 6), np.uint8)], student.encode, student.class_names)

    with pytest.raises(ValueError, match="at least 8 pixels"):
        ladder(tiny, None)


def test_pixel_features_are_finite_for_any_size_and_flat_images():
    rng = np.random.default_rng(0)

    for size in ((8, 8), (32, 32), (19, 45)):
        assert np.isfinite(pixel_features(rng.random((6, 3, *size)))).all()
    assert np.isfinite(pixel_features(np.full((6, 3, 16, 16), 0.5))).all()


def test_the_spectrum_of_a_grating_lies_in_its_ring():
    """A wave of 4 cycles in 16 pixels has frequency 0.25, half of the highest along a row: ring 6 of 12."""
    wave = 0.5 + 0.3 * np.sin(2 * np.pi * 4 * np.arange(16) / 16)
    features = pixel_features(np.tile(wave, (2, 3, 16, 1)))

    spectrum = features[0, -12 - 12 : -12]
    assert spectrum.argmax() == 6
