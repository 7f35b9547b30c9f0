"""Every edit: laws that all of them keep, and for each the closed form of what it changes and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from probes.edits import EDITS, FAMILIES, Material, colour, patches, regions, scales, smooth, spectrum, traces

edits_by_name = pytest.mark.parametrize("name", sorted(EDITS))


@pytest.fixture(scope="module")
def photos():
    """Twelve smooth, coloured images of 16 x 24 pixels with a little noise, as photographs are."""
    draw = torch.Generator().manual_seed(5)
    coarse = torch.rand(12, 3, 4, 6, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=(16, 24), mode="bicubic", align_corners=False)
    return (0.15 + 0.7 * smooth + 0.03 * torch.randn(12, 3, 16, 24, generator=draw)).clamp(0, 1)


def material(images, rows=slice(None)):
    partner = images.roll(1, dims=0)
    mask = torch.zeros(len(images), 1, *images.shape[-2:], dtype=torch.bool)
    mask[:, :, 4:11, 5:17] = True
    keys = np.arange(len(images)) + 3
    return Material(images[rows], keys[rows], partner[rows], mask[rows], mask.roll(1, dims=0)[rows])


@edits_by_name
def test_an_edit_gives_images_of_the_same_shape_in_the_unit_range_and_changes_them(name, photos):
    edited = EDITS[name].apply(material(photos))

    assert edited.shape == photos.shape
    assert edited.dtype == torch.float32
    assert edited.min() >= 0
    assert edited.max() <= 1
    assert (edited - photos).abs().mean() > 1e-3 or name in (
        "notch",
        "matched_peaks",
        "swapped_peaks",
        "matched_compression",
        "swapped_compression",
    )
    assert EDITS[name].family in FAMILIES


@edits_by_name
def test_an_edit_of_one_image_does_not_depend_on_the_batch_it_is_in(name, photos):
    together = EDITS[name].apply(material(photos))
    apart = torch.cat([EDITS[name].apply(material(photos, slice(row, row + 1))) for row in range(len(photos))])

    torch.testing.assert_close(apart, together, rtol=0, atol=2e-6)


@edits_by_name
def test_an_edit_leaves_its_input_and_the_global_random_state_alone(name, photos):
    given = material(photos)
    before = given.images.clone(), given.partner.clone()
    state = torch.get_rng_state()

    EDITS[name].apply(given)

    assert torch.equal(given.images, before[0])
    assert torch.equal(given.partner, before[1])
    assert torch.equal(torch.get_rng_state(), state)


@edits_by_name
def test_an_edit_survives_flat_black_images_and_large_ones(name):
    for side in (8, 65):
        flat = torch.zeros(2, 3, side, side)
        mask = torch.ones(2, 1, side, side, dtype=torch.bool)
        edited = EDITS[name].apply(Material(flat, np.array([0, 1]), flat.clone(), mask, mask))
        assert edited.shape == flat.shape
        assert torch.isfinite(edited).all()


REDRAWN = ("matched_background", *(f"{kind}_{name}" for kind in ("matched", "swapped") for name in ("noise", "traces")))
"""Exchanges that fill or strew something anew, even from the image itself."""


@pytest.mark.parametrize("name", [name for name, edit in EDITS.items() if edit.partnered and name not in REDRAWN])
def test_an_exchange_with_itself_changes_nothing(name, photos):
    given = material(photos)

    edited = EDITS[name].apply(Material(photos, given.keys, photos, given.mask, given.mask))

    torch.testing.assert_close(edited, photos, rtol=0, atol=2e-5)


def test_grey_has_three_equal_channels_of_the_same_brightness(photos):
    edited = colour.grey(photos)

    assert torch.equal(edited[:, 0], edited[:, 2])
    torch.testing.assert_close(colour.luma(edited), colour.luma(photos))


def test_hue_and_saturation_keep_the_brightness_where_nothing_is_clipped(photos):
    for edited in (colour.hue(photos), colour.saturation(photos)):
        inside = ((edited > 0) & (edited < 1)).all(dim=1, keepdim=True)
        torch.testing.assert_close(colour.luma(edited)[inside], colour.luma(photos)[inside])
    torch.testing.assert_close(colour.hue(colour.hue(photos * 0.2 + 0.4)), photos * 0.2 + 0.4)


def test_levelled_images_forget_a_cast_and_a_contrast(photos):
    dimmed = photos * torch.tensor([0.5, 0.8, 0.3]).view(1, 3, 1, 1) + 0.1

    torch.testing.assert_close(colour.level_colour(dimmed), colour.level_colour(photos), rtol=0, atol=1e-4)


def test_exchanged_channel_statistics_are_the_partners_and_noise_is_no_spread(photos):
    calm = 0.35 + 0.3 * photos  # far from 0 and 1, so that nothing is clipped
    partner = calm.roll(1, dims=0)
    noisy = partner + 0.04 * torch.randn(partner.shape, generator=torch.Generator().manual_seed(1))

    edited = colour.exchange_channel_statistics(calm, partner)
    spread = [smooth.coarse(part).std(dim=(2, 3), correction=0) for part in (edited, partner)]
    from_noisy = colour.exchange_channel_statistics(calm, noisy).std(dim=(2, 3))

    torch.testing.assert_close(edited.mean(dim=(2, 3)), partner.mean(dim=(2, 3)))
    torch.testing.assert_close(*spread)
    assert noisy.std() > 1.15 * partner.std()
    torch.testing.assert_close(from_noisy, edited.std(dim=(2, 3)), rtol=0.1, atol=0)


def test_exchanged_chroma_is_the_partners_at_the_coarse_scale_and_the_images_own_in_brightness_and_from_pixel_to_pixel(photos):
    calm = 0.4 + 0.2 * photos
    partner = calm.roll(1, dims=0)
    edited = colour.exchange_chroma(calm, partner)
    chroma = lambda images: images - colour.luma(images)  # noqa: E731
    fine = lambda images: images - smooth.coarse(images)  # noqa: E731

    torch.testing.assert_close(colour.luma(edited), colour.luma(calm), rtol=0, atol=1e-6)
    torch.testing.assert_close(chroma(edited) - chroma(calm), smooth.coarse(chroma(partner) - chroma(calm)), rtol=0, atol=1e-6)
    noise = 0.05 * torch.randn(calm.shape, generator=torch.Generator().manual_seed(2))
    moved = colour.exchange_chroma(calm, partner + noise) - edited
    assert moved.std() < 0.35 * fine(noise).std()  # a blur of one pixel leaves 28 % of white noise


def test_exchanged_tones_carry_a_tone_curve_and_a_few_shades_and_move_nothing(photos):
    photos = (photos * 255).round() / 255
    bent = photos**2
    few = (photos * 3).round() / 3

    back = colour.exchange_tones(bent, photos)
    coarse = colour.exchange_tones(photos, few.roll(1, dims=0))

    assert (back - photos).abs().mean() < 0.01  # the same image through a tone curve gets its own tones back
    assert {round(float(value), 2) for value in coarse.unique()} <= {0.0, 0.33, 0.67, 1.0}
    one, other = photos[0, 0].flatten(), coarse[0, 0].flatten()
    order = one.argsort()
    assert (other[order].diff() > -1e-6).all()  # brighter pixels stay the brighter ones


def test_exchanged_noise_is_as_strong_and_as_coloured_as_the_partners_and_carries_no_line(photos):
    flat = torch.full((4, 3, 32, 32), 0.5)
    grey = 0.1 * torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(3)).expand(-1, 3, -1, -1)
    line = flat.clone()
    line[:, :, 16] = 0.9
    keys = np.arange(4)

    noisy = traces.exchange_noise(flat, flat + grey, keys)
    cleaned = traces.exchange_noise(flat + grey, flat, keys)
    strewn = traces.exchange_noise(flat, line, keys)

    residual = (flat + grey) - traces.median(flat + grey)
    torch.testing.assert_close(noisy.flatten(2).sort().values, (0.5 + residual).flatten(2).sort().values, rtol=0, atol=1e-6)
    assert torch.equal(noisy[:, 0], noisy[:, 2])
    assert (cleaned - flat).std() < 0.5 * grey.std()
    assert (strewn[:, 0] > 0.7).sum(dim=2).max() < 8  # of 32 pixels in a row


def test_the_exchange_of_all_tones_and_colours_carries_saturation_by_place_and_a_tone_curve_at_once(photos):
    partner = (photos**1.5).roll(1, dims=0)

    edited = colour.exchange_palette(photos, partner)

    chroma = lambda images: smooth.coarse(images - colour.luma(images))  # noqa: E731
    assert (chroma(edited) - chroma(partner)).abs().mean() < 0.35 * (chroma(photos) - chroma(partner)).abs().mean()
    dark = [colour.luma(part).mean() for part in (edited, partner, photos)]
    assert abs(dark[0] - dark[1]) < 0.2 * abs(dark[2] - dark[1])


def test_the_exchange_of_all_traces_makes_noise_where_there_is_none_and_blurs_what_is_sharp():
    smooth_ramp = torch.linspace(0.3, 0.7, 32).expand(4, 3, 32, 32).clone()
    noisy = smooth_ramp.flip(-1) + 0.08 * torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    fine = lambda images: (images - scales.gaussian(images, 1.0)).std()  # noqa: E731

    made = traces.exchange_traces(smooth_ramp, noisy, np.arange(4))
    gone = traces.exchange_traces(noisy, smooth_ramp, np.arange(4))

    assert fine(made) == pytest.approx(float(fine(noisy)), rel=0.35)
    assert fine(gone) < 0.35 * fine(noisy)


@pytest.mark.parametrize("name", regions.WINDOWS)
def test_an_exchanged_window_is_a_quarter_of_the_image_and_the_rest_stays(name, photos):
    edited = regions.exchange_window(photos, photos.roll(1, dims=0), name)

    changed = (edited != photos).any(dim=1).float()
    assert changed.mean() == pytest.approx(0.25, abs=0.01)
    down, across = regions.WINDOWS[name]
    rows, columns = changed[0].sum(dim=1).nonzero(), changed[0].sum(dim=0).nonzero()
    assert (int(rows.min()), int(rows.max())) == (4 * down, 4 * down + 7)
    assert (int(columns.min()), int(columns.max())) == (6 * across, 6 * across + 11)


def test_a_blur_keeps_a_flat_image_and_the_width_of_a_point(photos):
    flat = torch.full((1, 3, 20, 30), 0.37)
    point = torch.zeros(1, 1, 41, 41)
    point[..., 20, 20] = 1

    spread = scales.gaussian(point, 2.0)[0, 0].sum(dim=0)

    torch.testing.assert_close(scales.gaussian(flat, 3.0), flat)
    variance = (spread * (torch.arange(41) - 20) ** 2).sum() / spread.sum()
    assert variance == pytest.approx(4.0, rel=0.04)  # cut at three sigmas


def test_low_and_high_pass_are_the_two_parts_of_the_brightness(photos):
    calm = 0.4 + 0.2 * photos

    together = colour.luma(scales.low_pass(calm)) + colour.luma(scales.high_pass(calm)) - 0.5

    torch.testing.assert_close(together, colour.luma(calm), rtol=0, atol=1e-5)


def test_detail_and_layout_of_two_images_are_divided_between_the_exchanges(photos):
    calm = 0.4 + 0.2 * photos
    partner = calm.roll(1, dims=0)
    sigma = smooth.COARSE * 16

    detail, layout = scales.exchange_detail(calm, partner), scales.exchange_layout(calm, partner)

    fine = lambda images: colour.luma(images) - scales.gaussian(colour.luma(images), sigma)  # noqa: E731
    angle = [torch.fft.rfft2(fine(image)).angle() for image in (detail, partner)]
    turned = torch.cos(angle[0] - angle[1])[..., 4:12, 4:]
    assert turned.mean() > 0.95  # phases of the fine frequencies are the partner's
    assert fine(detail).std() == pytest.approx(float(fine(calm).std()), rel=0.1)
    for edited in (detail, layout):  # colours stay
        torch.testing.assert_close(edited - colour.luma(edited), calm - colour.luma(calm), rtol=0, atol=1e-5)
    coarse = scales.gaussian(colour.luma(calm), sigma)
    moved = colour.luma(layout) - fine(calm)
    torch.testing.assert_close(moved.mean(dim=(2, 3)), coarse.mean(dim=(2, 3)), rtol=0, atol=1e-5)
    torch.testing.assert_close(moved.std(dim=(2, 3)), coarse.std(dim=(2, 3)), rtol=0, atol=1e-4)


def test_the_notch_takes_out_a_grating_and_leaves_noise_nearly_alone():
    noise = 0.5 + 0.05 * torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    grating = 0.1 * torch.sin(2 * torch.pi * 6 * torch.arange(32) / 32)

    cleaned = spectrum.notch(noise + grating)

    assert (cleaned - noise).abs().mean() < 0.15 * grating.abs().mean()
    assert (spectrum.notch(noise) - noise).abs().mean() < 0.01 * noise.std()


def test_exchanged_peaks_move_a_grating_and_leave_noise_alone():
    noise = 0.5 + 0.05 * torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    grating = 0.1 * torch.sin(2 * torch.pi * 6 * torch.arange(32) / 32)

    given = spectrum.exchange_peaks(noise, noise.roll(1, dims=0) + grating)
    taken = spectrum.exchange_peaks(noise + grating, noise.roll(1, dims=0))

    assert (given - noise - grating).abs().mean() < 0.15 * grating.abs().mean()
    assert (taken - noise).abs().mean() < 0.15 * grating.abs().mean()
    assert (scales.exchange_detail(noise, noise + grating) - noise).abs().mean() < 0.15 * grating.abs().mean()


def test_exchanged_amplitudes_are_the_partners_and_mean_and_phases_the_images_own():
    draw = torch.Generator().manual_seed(2)
    images, partner = (0.5 + 0.04 * torch.randn(3, 3, 16, 16, generator=draw) for _ in range(2))

    edited = spectrum.exchange_amplitude(images, partner)

    was, given, now = (torch.fft.fft2(part) for part in (images, partner, edited))
    torch.testing.assert_close(now.abs()[..., 1:, 1:], given.abs()[..., 1:, 1:], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(edited.mean(dim=(2, 3)), images.mean(dim=(2, 3)))
    assert (now[..., 1:, 1:] / was[..., 1:, 1:]).angle().abs().max() < 0.01


def test_exchanged_sharpness_blurs_a_sharp_image_as_its_partner_and_keeps_the_layout(photos):
    sharp = 0.5 + 0.1 * torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    soft = scales.gaussian(sharp.roll(1, dims=0), 1.0)

    edited = spectrum.exchange_sharpness(sharp, soft)

    fine = lambda images: (images - scales.gaussian(images, 1.0)).std()  # noqa: E731
    assert fine(edited) == pytest.approx(float(fine(soft)), rel=0.35)
    assert fine(sharp) > 3 * fine(soft)
    coarse = [scales.gaussian(images, 4.0) for images in (edited, sharp)]
    torch.testing.assert_close(coarse[0], coarse[1], rtol=0, atol=0.01)


@pytest.mark.parametrize(("edit", "inside"), [(regions.border_only, True), (regions.centre_only, False)])
def test_nothing_of_a_hidden_region_leaks(edit, inside):
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    changed = images.clone()
    centre = torch.zeros(32, 32, dtype=torch.bool)
    centre[6:26, 6:26] = True
    changed[:, :, centre if inside else ~centre] = 0.9

    assert torch.equal(edit(changed), edit(images))
    seen = ~centre if inside else centre
    assert torch.equal(edit(images)[:, :, seen], images[:, :, seen])


def test_hidden_corners_are_a_quarter_of_the_side():
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))

    changed = regions.hide_corners(images) != images

    assert changed[0, 0, :8, :8].all()
    assert changed[0, 0, 24:, :8].all()
    assert not changed[0, 0, 8:24].any()


def test_an_exchanged_background_keeps_the_object_and_shows_no_object_of_the_partner(photos):
    given = material(photos)
    loud = given.partner.where(~given.partner_mask, torch.tensor(1.0))

    edited = regions.exchange_background(photos, loud, given.mask, given.partner_mask)
    other = regions.exchange_background(photos, given.partner, given.mask, given.partner_mask)

    inside = given.mask.expand_as(photos)
    assert torch.equal(edited[inside], photos[inside])
    torch.testing.assert_close(edited, other)  # whatever the partner's object looks like
    nowhere = ~(given.mask | given.partner_mask).expand_as(photos)
    assert torch.equal(edited[nowhere], given.partner[nowhere])


@pytest.mark.parametrize("grid", [2, 4, 8])
def test_shuffled_patches_are_the_same_patches_in_another_order(grid):
    number = torch.arange(32 * 32, dtype=torch.float32).view(1, 1, 32, 32).expand(5, 3, 32, 32) / 1024
    side = 32 // grid

    edited = patches.patch_shuffle(number, np.arange(5), grid=grid)

    for image in edited:
        assert torch.equal(image.flatten().sort().values, number[0].flatten().sort().values)
        assert not torch.equal(image, number[0])
        first = image[0, :side, :side]  # rows and columns inside a patch stay in order
        torch.testing.assert_close(first - first[0, 0], number[0, 0, :side, :side] - number[0, 0, 0, 0])
    assert not torch.equal(edited[0], edited[1])


def test_more_patches_than_pixels_are_refused():
    with pytest.raises(ValueError, match=r"`grid` must be at most the side of the images, got 8 for \(6, 6\)"):
        patches.patch_shuffle(torch.zeros(1, 3, 6, 6), np.array([0]), grid=8)


def test_noise_has_its_spread_and_follows_its_key():
    grey = torch.full((20, 3, 32, 32), 0.5)

    first = traces.noise(grey, np.arange(20))

    assert first.std() == pytest.approx(traces.NOISE, rel=0.02)  # 61,440 draws: standard error 0.3 %
    assert torch.equal(first, traces.noise(grey, np.arange(20)))
    assert not torch.equal(first, traces.noise(grey, np.arange(1, 21)))


def test_jpeg_of_finest_quality_is_nearly_the_image_and_of_coarsest_far_from_it(photos):
    fine, coarse = ((traces.jpeg(colour.grey(photos), quality=quality) - colour.grey(photos)).abs().mean() for quality in (100, 5))

    assert fine < 0.5 / 255 + 0.5 / 255
    assert coarse > 5 * fine
