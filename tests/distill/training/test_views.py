"""Views: pure functions of (seed, view, image), and the same arithmetic as torchvision where they mean the same."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import functional as T

from distill.training.views import ViewConfig, Views, _colour, _crop

STILL = {"min_area": 1.0, "max_ratio": 1.0, "shift": 0.0, "flip": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
STRONG = {"min_area": 0.3, "shift": 0.2, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2, "mixup": 0.5}
# One rounding of each of some twenty operations on numbers near 1 in float32.
ROUNDING = 5e-6


def pixels(n: int = 12, side: int = 10, *, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, side, side), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def views(n: int = 12, **changes: float) -> Views:
    return Views(ViewConfig(**{**STILL, **changes}), n)


def colour(images: torch.Tensor, **rows: float) -> torch.Tensor:
    neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    return _colour(images, {name: torch.full((len(images),), value) for name, value in (neutral | rows).items()})


def test_view_without_strength_is_the_image_itself() -> None:
    data = pixels()

    seen = views().images(data, torch.arange(12), 3)

    torch.testing.assert_close(seen, data.float() / 255, rtol=0, atol=ROUNDING)


def test_image_in_a_view_does_not_depend_on_the_batch_or_the_object() -> None:
    data = pixels()
    whole = Views(ViewConfig(**STRONG), 12).images(data, torch.arange(12), 5)

    other = Views(ViewConfig(**STRONG), 12)
    other.images(data, torch.arange(12), 0)  # an earlier view leaves no trace
    order = torch.tensor([7, 2, 11, 2])
    some = other.images(data, order, 5)
    alone = torch.cat([other.images(data, torch.tensor([i]), 5) for i in range(12)])

    # Not bit-equal: matrix products of another batch size may add in another order.
    torch.testing.assert_close(some, whole[order], rtol=0, atol=ROUNDING)
    torch.testing.assert_close(alone, whole, rtol=0, atol=ROUNDING)


def test_same_batch_is_bit_equal_in_another_process_or_run() -> None:
    data = pixels()
    torch.manual_seed(1)
    first = Views(ViewConfig(**STRONG), 12).images(data, torch.arange(12), 5)
    torch.manual_seed(2)

    second = Views(ViewConfig(**STRONG), 12).images(data, torch.arange(12), 5)

    assert torch.equal(first, second)


def test_views_and_seeds_differ_and_leave_the_global_generator_alone() -> None:
    data = pixels()
    state = torch.get_rng_state()

    first = Views(ViewConfig(**STRONG), 12).images(data, torch.arange(12), 0)
    second = Views(ViewConfig(**STRONG), 12).images(data, torch.arange(12), 1)
    third = Views(ViewConfig(**STRONG, seed=1), 12).images(data, torch.arange(12), 0)

    assert min((first - second).abs().amax(), (first - third).abs().amax()) > 0.1
    assert torch.equal(torch.get_rng_state(), state)


def test_views_stay_in_range_and_leave_the_pixels_alone() -> None:
    data = pixels()
    kept = data.clone()

    seen = Views(ViewConfig(**{**STRONG, "brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.5}), 12).images(
        data, torch.arange(12), 0
    )

    assert seen.dtype == torch.float32
    assert 0 <= seen.min() <= seen.max() <= 1
    assert torch.equal(data, kept)


def test_flip_of_all_images_is_a_mirror_image() -> None:
    data = pixels()

    seen = views(flip=1.0).images(data, torch.arange(12), 0)

    torch.testing.assert_close(seen, data.flip(-1).float() / 255, rtol=0, atol=ROUNDING)


def test_flip_turns_about_its_share_of_the_images() -> None:
    flips = views(4000, flip=0.3).draws(0)["flip"]

    # Four standard deviations of a binomial share, 4 * sqrt(0.3 * 0.7 / 4000) = 0.029.
    assert abs((flips == -1).float().mean().item() - 0.3) < 0.029


def test_draws_stay_within_their_strengths() -> None:
    draws = Views(ViewConfig(min_area=0.4, max_ratio=2.0, brightness=0.1, contrast=0.2, saturation=0.3, hue=0.25), 2000).draws(0)

    for name, low, high in (
        ("area", 0.4, 1.0),
        ("ratio", 0.5, 2.0),
        ("brightness", 0.9, 1.1),
        ("contrast", 0.8, 1.2),
        ("saturation", 0.7, 1.3),
        ("hue", -torch.pi / 2, torch.pi / 2),
    ):
        values = draws[name]
        margin = 0.02 * (high - low)  # 2000 uniform draws come that close to both ends but for a chance of 1e-17
        assert low - 1e-5 <= values.min() < low + margin
        assert high - margin < values.max() <= high + 1e-5


def test_crop_keeps_the_drawn_part_of_the_image() -> None:
    """A crop of a quarter in the upper left corner of a ramp is the ramp's first half, stretched to the whole side."""
    side = 8
    ramp = torch.linspace(0, 1, side).expand(1, 3, side, side)
    rows = {
        name: torch.tensor([value])
        for name, value in {"area": 0.25, "ratio": 1.0, "x": -1.0, "y": -1.0, "flip": 1.0, "shift_x": 0.0, "shift_y": 0.0}.items()
    }

    seen = _crop(ramp, rows)

    stretched = F.interpolate(ramp[..., : side // 2, : side // 2 + 1], size=(side, side + 2), mode="bilinear")[..., :side]
    torch.testing.assert_close(seen, stretched, rtol=0, atol=ROUNDING)


def test_shift_moves_whole_pixels_and_mirrors_the_edge() -> None:
    data = pixels(40)
    shifting = views(40, shift=0.3)

    seen = shifting.images(data, torch.arange(40), 1)

    draws = shifting.draws(1)
    moved = set()
    for index in range(40):
        across, down = (round(10 * float(draws[name][index])) for name in ("shift_x", "shift_y"))
        padded = F.pad(data[index : index + 1].float() / 255, (3, 3, 3, 3), mode="circular")
        mirrored = padded.clone()  # symmetric padding, which torch lacks: the edge pixel itself is repeated
        for k in range(3):
            mirrored[..., 2 - k], mirrored[..., 13 + k] = mirrored[..., 3 + k], mirrored[..., 12 - k]
        for k in range(3):
            mirrored[..., 2 - k, :], mirrored[..., 13 + k, :] = mirrored[..., 3 + k, :], mirrored[..., 12 - k, :]
        expected = mirrored[0, :, 3 + down : 13 + down, 3 + across : 13 + across]
        torch.testing.assert_close(seen[index], expected, rtol=0, atol=5 * ROUNDING)  # positions are rounded too
        moved.add((across, down))
    assert len(moved) > 15


def test_crop_never_leaves_the_image() -> None:
    """The mean of a constant image stays, whatever is drawn: nothing is padded with black."""
    seen = views(500, min_area=0.1, max_ratio=3.0, flip=0.5, shift=0.5).images(
        torch.full((500, 3, 6, 6), 200, dtype=torch.uint8), torch.arange(500), 0
    )

    torch.testing.assert_close(seen, torch.full_like(seen, 200 / 255), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("strength", [0.6, 1.0, 1.4])
def test_brightness_is_torchvisions_before_clamping(strength: float) -> None:
    images = pixels(4).float() / 255

    ours = colour(images, brightness=strength).clamp(0, 1)

    torch.testing.assert_close(ours, T.adjust_brightness(images, strength), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("strength", [0.6, 1.0, 1.4])
def test_saturation_and_contrast_are_torchvisions_up_to_its_rounded_luma(strength: float) -> None:
    """torchvision's luma weights are 0.2989, 0.587, 0.114, ours add up to one: they differ by 1e-4 of the red channel."""
    images = pixels(4).float() / 255

    saturated, contrasted = colour(images, saturation=strength).clamp(0, 1), colour(images, contrast=strength).clamp(0, 1)

    torch.testing.assert_close(saturated, T.adjust_saturation(images, strength), rtol=0, atol=1e-4)
    torch.testing.assert_close(contrasted, T.adjust_contrast(images, strength), rtol=0, atol=1e-4)


def test_hue_turns_a_third_of_the_circle_from_red_to_a_neighbour_and_keeps_luma() -> None:
    """torchvision turns the angle of HSV, which keeps the largest channel; ours turns that of YIQ the other way round, which keeps luma.

    Views draw turns of both signs alike, so the sense of the turn has no effect; the sizes of the channels do differ.
    """
    red = torch.tensor([0.5, 0.2, 0.2]).view(1, 3, 1, 1).expand(1, 3, 2, 2).contiguous()
    luma = torch.tensor([0.299, 0.587, 0.114])

    for turn, channel in ((1 / 3, 1), (-1 / 3, 2)):
        theirs = T.adjust_hue(red, turn)[0, :, 0, 0]
        ours = colour(red, hue=-2 * torch.pi * turn)[0, :, 0, 0]

        assert theirs.argmax() == channel
        assert ours.argmax() == channel
        assert float(luma @ ours) == pytest.approx(float(luma @ red[0, :, 0, 0]), abs=2e-3)  # the NTSC matrix has three digits


def test_hue_turned_there_and_back_is_where_it_began_and_grey_stays_grey() -> None:
    images = pixels(4).float() / 255
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()

    back = colour(colour(images, hue=0.7), hue=-0.7)

    torch.testing.assert_close(back, images, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(colour(grey, hue=0.7), grey, rtol=0, atol=ROUNDING)


def test_mixup_blends_the_partners_own_view() -> None:
    data = pixels()
    mixing, plain = views(mixup=1.0, flip=0.5, min_area=0.5), views(flip=0.5, min_area=0.5)
    seen = mixing.images(data, torch.arange(12), 4)
    draws = mixing.draws(4)
    single = plain.images(data, torch.arange(12), 4)

    share = draws["blend"].view(-1, 1, 1, 1)
    blended = (1 - share) * single + share * single[draws["partner"]]

    torch.testing.assert_close(seen, blended, rtol=0, atol=ROUNDING)
    assert (seen - single).abs().amax() > 0.1
    assert sorted(draws["partner"].tolist()) == list(range(12))


def test_targets_blend_as_the_images_do_and_are_unit_rows() -> None:
    table = F.normalize(torch.randn(12, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    mixing = views(mixup=0.5)
    indices = torch.tensor([3, 9, 0, 4])

    rows = mixing.targets(table, indices, 2)

    draws = mixing.draws(2)
    for row, index in zip(rows, indices.tolist(), strict=True):
        share = float(draws["blend"][index])
        blend = (1 - share) * table[index] + share * table[int(draws["partner"][index])]
        torch.testing.assert_close(row, blend / blend.norm())
    assert (draws["blend"] == 0).any()
    assert (draws["blend"] > 0).any()


def test_targets_without_mixup_are_the_table() -> None:
    table = F.normalize(torch.randn(12, 5), dim=-1)

    torch.testing.assert_close(views().targets(table, torch.arange(12), 0), table)


def test_key_tells_strengths_and_seeds_apart_but_not_the_count() -> None:
    config = ViewConfig()

    assert config.key == ViewConfig(count=9).key
    assert len(
        {config.key, *(ViewConfig(**{name: 1.25 if name == "max_ratio" else 0.25}).key for name in STILL), ViewConfig(seed=1).key}
    ) == 2 + len(STILL)
