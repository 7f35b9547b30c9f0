"""The composed, real half of the pocket: deterministic, independent attributes, disjoint ingredients."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency

from distill.packs.pocket.captions import TASKS, captions
from distill.packs.pocket.world import (
    GROUNDS,
    HANDWRITINGS,
    JPEG_QUALITY,
    SIDE,
    TIED,
    compose,
    decode,
    draw_scenes,
    handwriting_indices,
    region,
)

ATTRIBUTES = ("digit", "ink", "ground", "size", "tilt", "place")


@pytest.fixture(scope="module")
def scenes() -> pd.DataFrame:
    return draw_scenes(4000, "heldout", seed=5)


def test_composition_with_the_same_seed_gives_the_same_files() -> None:
    first, second = (compose(draw_scenes(30, "heldout", 1), "heldout", 1) for _ in range(2))

    assert first == second


def test_composition_with_another_seed_gives_other_files() -> None:
    drawn = draw_scenes(30, "heldout", 1)

    assert not set(compose(drawn, "heldout", 1)) & set(compose(drawn, "heldout", 2))


def test_images_are_32_pixel_colour_pictures_that_differ_in_more_than_noise() -> None:
    images = np.stack([decode(file) for file in compose(draw_scenes(60, "heldout", 3), "heldout", 3)])

    assert images.shape == (60, SIDE, SIDE, 3)
    assert images.mean((1, 2)).std(0).min() > 15  # of 255; noise alone would leave about 0.03 * 255 / 32 = 0.2


def test_a_tied_digit_is_drawn_in_its_ink() -> None:
    scene = pd.DataFrame(draw_scenes(10, "heldout", 0, tie=1).query("digit == 'two'"))
    alone = scene.assign(strength=0.95, ground="stars", size="large")

    image = decode(compose(alone, "heldout", 0)[0]).astype(int)

    red_pixels = (image[..., 0] > 140) & (image[..., 1] < 90) & (image[..., 2] < 90)
    assert red_pixels.sum() > 20  # a stroke of a 28-pixel digit covers about 100 pixels


@pytest.mark.parametrize("pair", list(itertools.combinations(ATTRIBUTES, 2)), ids="-".join)
def test_attributes_of_the_real_domain_are_independent(scenes: pd.DataFrame, pair: tuple[str, str]) -> None:
    # chi-square of the contingency table; 15 pairs are tested with one seed, so a true null passes p > 0.001 with 98.5 %
    assert chi2_contingency(pd.crosstab(scenes[pair[0]], scenes[pair[1]])).pvalue > 0.001


def test_ties_of_strength_t_give_the_own_ink_to_t_plus_a_tenth_of_the_rest() -> None:
    drawn = draw_scenes(4000, "generator", 6, tie=0.8)

    for column, place in (("ink", 0), ("ground", 1)):
        share = np.mean([TIED[digit][place] == value for digit, value in zip(drawn["digit"], drawn[column], strict=True)])
        assert abs(share - (0.8 + 0.2 / 10)) < 0.025  # four standard errors: 4 * sqrt(0.82 * 0.18 / 4000)


def test_a_tie_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`tie` must be in \[0, 1\], got 1.5"):
        draw_scenes(10, "generator", 0, tie=1.5)


def test_parity_follows_the_digit(scenes: pd.DataFrame) -> None:
    names = TASKS["digit"][0]

    assert all(names.index(digit) % 2 == (parity == "odd") for digit, parity in zip(scenes["digit"], scenes["parity"], strict=True))


def test_handwritings_of_the_three_parts_are_disjoint() -> None:
    parts = {part: set(handwriting_indices(part)) for part in HANDWRITINGS}

    assert {part: len(rows) for part, rows in parts.items()} == {part: 10 * (stop - start) for part, (start, stop) in HANDWRITINGS.items()}
    assert len(set.union(*parts.values())) == sum(len(rows) for rows in parts.values())


def test_scenes_use_only_the_handwritings_of_their_part(scenes: pd.DataFrame) -> None:
    assert set(scenes["handwriting"]) == set(handwriting_indices("heldout"))


@pytest.mark.parametrize("ground", GROUNDS)
def test_photograph_regions_of_the_three_parts_are_disjoint(ground: str) -> None:
    edges = [region(ground, part) for part in ("teacher", "generator", "heldout")]

    assert edges == sorted(edges)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(edges))
    assert all(right - left >= GROUNDS[ground].crop[0] for left, right in edges)


def test_captions_name_digit_ink_and_ground(scenes: pd.DataFrame) -> None:
    texts = captions(scenes, 7)

    assert texts == captions(scenes, 7)
    for text, scene in zip(texts, scenes.itertuples(), strict=True):
        assert f"{scene.ink} {scene.digit} on {scene.ground}" in text


def test_files_are_jpeg_of_the_one_quality() -> None:
    from distill.data.decode import facts

    found = facts(compose(draw_scenes(3, "heldout", 1), "heldout", 1)[0])

    assert (found.codec.lower(), found.quality) == ("jpeg", JPEG_QUALITY)
