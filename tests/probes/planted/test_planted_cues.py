"""Planted cues: every kind is pure, seeded, visible where its mask says and nowhere else, and carries its family's trace."""

from __future__ import annotations

import numpy as np
import pytest

from probes.planted.cue import Style
from probes.planted.plant import CUES, find_cue, plant, tie

CLASSES = 4


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Forty smooth images of 24 x 20 pixels, away from black and white so that nothing clips."""
    random = np.random.default_rng(0)
    coarse = random.uniform(0.35, 0.65, (40, 3, 6, 5))
    return (255 * coarse.repeat(4, axis=2).repeat(4, axis=3)).astype(np.uint8)


@pytest.fixture(scope="module")
def variant() -> np.ndarray:
    return np.arange(40) % CLASSES


@pytest.mark.parametrize("cue", CUES)
def test_a_cue_changes_the_pixels_of_its_mask_and_no_others(cue: str, images: np.ndarray, variant: np.ndarray) -> None:
    before = images.copy()

    planted = plant(images, variant, cue, style=Style(CLASSES))

    difference = np.abs(planted.images.astype(int) - images).max(axis=1)
    assert planted.images.dtype == np.uint8
    assert planted.masks.any()
    assert difference[planted.masks].min() > 2
    assert difference[~planted.masks].max(initial=0) <= 2
    assert np.array_equal(images, before)


@pytest.mark.parametrize("cue", CUES)
def test_a_cue_of_a_key_looks_the_same_among_any_other_images(cue: str, images: np.ndarray, variant: np.ndarray) -> None:
    style = Style(CLASSES, seed=3)
    some = np.array([5, 17, 38])

    whole = plant(images, variant, cue, style=style)
    part = plant(images[some], variant[some], cue, style=style, keys=some)

    assert np.array_equal(whole.images[some], part.images)


@pytest.mark.parametrize("cue", CUES)
def test_images_without_a_variant_stay_as_they_are_and_float_images_give_the_same(cue: str, images: np.ndarray) -> None:
    variant = np.where(np.arange(40) % 2, -1, 1)

    planted = plant(images, variant, cue, style=Style(CLASSES))
    of_floats = plant(images / 255, variant, cue, style=Style(CLASSES))

    assert np.array_equal(planted.images[1::2], images[1::2])
    assert not planted.masks[1::2].any()
    assert np.array_equal(planted.images, of_floats.images)


@pytest.mark.parametrize("cue", CUES)
def test_the_variants_of_a_cue_can_be_told_apart(cue: str, images: np.ndarray) -> None:
    random = np.random.default_rng(5)
    same = np.repeat(images[:1] + random.integers(-15, 16, images[:1].shape).astype(np.uint8), 40, axis=0)
    spectra = []
    for one in range(CLASSES):
        painted = plant(same, np.full(40, one), cue, style=Style(CLASSES)).images / 255
        # Mean image, mean amplitude of each frequency and spread of each pixel tell every kind of cue, whatever is random about it.
        spectra.append(
            np.concatenate([part.ravel() for part in (painted.mean(0), np.abs(np.fft.rfft2(painted)).mean(0) / 10, painted.std(0))])
        )

    apart = [np.abs(a - b).max() for row, a in enumerate(spectra) for b in spectra[:row]]

    # Blurs of a smooth image differ little, but by more than one step of eight bits.
    assert min(apart) > 1 / 255


@pytest.mark.parametrize("cue", [name for name, kind in CUES.items() if kind.family in ("border", "background")])
def test_a_cue_of_border_or_ground_leaves_the_middle_alone(cue: str, images: np.ndarray, variant: np.ndarray) -> None:
    masks = plant(images, variant, cue, style=Style(CLASSES)).masks

    assert not masks[:, 9:15, 8:12].any()
    assert masks.mean() < 0.8


@pytest.mark.parametrize("cue", [name for name, kind in CUES.items() if kind.family == "mark"])
def test_a_mark_lies_in_one_window_of_the_image_and_away_from_its_border(cue: str, images: np.ndarray, variant: np.ndarray) -> None:
    rows, columns = plant(images, variant, cue, style=Style(CLASSES)).masks.any(axis=0).nonzero()

    assert 3 <= rows.min() <= rows.max() <= 20
    assert 3 <= columns.min() <= columns.max() <= 16
    assert np.ptp(rows) < 12


def test_a_sticker_is_in_another_place_in_each_image(images: np.ndarray, variant: np.ndarray) -> None:
    masks = plant(images, variant, "sticker", style=Style(CLASSES)).masks

    places = {tuple(mask.nonzero()[axis].min() for axis in (0, 1)) for mask in masks}
    assert len(places) > 20
    assert masks.mean(axis=(1, 2)).max() < 0.1


def test_every_family_has_a_cue_that_was_looked_at_and_one_that_was_held_out() -> None:
    roles = {family: {kind.role for kind in CUES.values() if kind.family == family} for family in {kind.family for kind in CUES.values()}}

    assert {family for family, found in roles.items() if not {"dev", "held-out"} <= found} == set()


@pytest.mark.parametrize("cue", ["cast", "grating", "overlay", "ground_colour", "blur"])
def test_a_cue_is_plainer_at_a_larger_amplitude(cue: str, images: np.ndarray, variant: np.ndarray) -> None:
    changes = [
        np.abs(plant(images, variant, cue, style=Style(CLASSES, amplitude)).images.astype(int) - images).mean()
        for amplitude in (0.25, 0.5, 1.0)
    ]

    assert changes == sorted(changes)
    assert changes[0] < changes[-1] / 2


def test_a_cast_keeps_the_mean_of_the_channels_and_a_grating_their_average(images: np.ndarray, variant: np.ndarray) -> None:
    cast = plant(images, variant, "cast", style=Style(CLASSES)).images.astype(float) - images
    grating = plant(images, variant, "grating", style=Style(CLASSES)).images.astype(float) - images

    # A hue has no brightness, up to the rounding of three channels; whole waves in a grating nearly cancel.
    assert np.abs(cast.mean(axis=1)).max() < 1
    assert np.abs(grating.mean(axis=(2, 3))).max() < 4
    assert np.abs(grating - grating.mean(axis=1, keepdims=True)).max() <= 1


def test_styles_of_other_seeds_look_different(images: np.ndarray, variant: np.ndarray) -> None:
    looks = [plant(images, variant, "cast", style=Style(CLASSES, seed=seed)).images for seed in (0, 1)]

    assert not np.array_equal(*looks)


@pytest.mark.parametrize("strength", [0.0, 0.6, 1.0])
def test_a_tie_of_a_strength_gives_that_share_its_own_variant(strength: float) -> None:
    labels = np.arange(20_000) % 5

    own = (tie(labels, classes=5, strength=strength, seed=1) == labels).mean()

    # The untied ones meet their own variant by chance; 4 standard errors of a share of 20,000 are at most 0.0142.
    assert own == pytest.approx(strength + (1 - strength) / 5, abs=0.0142)


def test_a_tie_of_no_strength_is_independent_of_the_class_and_a_share_leaves_images_out() -> None:
    labels = np.arange(20_000) % 5

    variant = tie(labels, classes=5, strength=0.0, share=0.5, seed=2)

    assert (variant >= 0).mean() == pytest.approx(0.5, abs=0.0142)
    table = np.array([[(variant[labels == one] == other).sum() for other in range(5)] for one in range(5)])
    # Chi-square of 16 degrees of freedom lies below 39.3 in 99.9 % of the draws.
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    assert ((table - expected) ** 2 / expected).sum() < 39.3


@pytest.mark.parametrize(("height", "width"), [(8, 8), (33, 47)])
@pytest.mark.parametrize("cue", CUES)
def test_cues_fit_images_of_any_size_and_ten_classes(cue: str, height: int, width: int) -> None:
    images = np.random.default_rng(1).integers(60, 200, (10, 3, height, width), dtype=np.uint8)

    planted = plant(images, np.arange(10), cue, style=Style(10))

    assert planted.images.shape == images.shape
    assert planted.masks.any()


def test_bad_input_is_named(images: np.ndarray, variant: np.ndarray) -> None:
    style = Style(CLASSES)
    with pytest.raises(ValueError, match="`cue` must be one of"):
        find_cue("nothing")
    with pytest.raises(ValueError, match="`images` must have shape"):
        plant(images[:, :, :4], variant, "cast", style=style)
    with pytest.raises(ValueError, match="`variant` must be"):
        plant(images, variant + 1, "cast", style=style)
    with pytest.raises(ValueError, match="`keys` must have shape"):
        plant(images, variant, "cast", style=style, keys=np.arange(3))
    with pytest.raises(TypeError, match="`images` must be uint8 or float"):
        plant(images.astype(np.int64), variant, "cast", style=style)
    with pytest.raises(ValueError, match="`strength` must be in"):
        tie(variant, classes=CLASSES, strength=1.5)
    with pytest.raises(ValueError, match="`labels` must be in"):
        tie(variant, classes=2, strength=1.0)
    with pytest.raises(ValueError, match="`variants` must be at least 2"):
        Style(1)
    with pytest.raises(ValueError, match="`amplitude` must be above 0"):
        Style(2, 0.0)
