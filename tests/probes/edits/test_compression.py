"""The quality of a JPEG read off its pixels, and laid over another image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from probes.edits import EDITS, Material
from probes.edits.compression import exchange_compression, jpeg_quality
from probes.edits.traces import jpeg


@pytest.fixture(scope="module")
def photos():
    """Forty images of 40 x 56 pixels with structure at all scales, never saved as JPEG."""
    draw = torch.Generator().manual_seed(3)
    images = 0.5 * torch.ones(40, 3, 40, 56)
    for side, loudness in ((3, 0.25), (6, 0.15), (12, 0.1), (24, 0.06)):
        coarse = torch.randn(40, 3, side, side, generator=draw)
        images += loudness * torch.nn.functional.interpolate(coarse, size=(40, 56), mode="bicubic", align_corners=False)
    return ((images + 0.03 * torch.randn(images.shape, generator=draw)).clamp(0, 1) * 255).round() / 255


@pytest.mark.parametrize("quality", [10, 25, 50, 75, 90])
def test_quality_of_a_jpeg_is_read_off_its_pixels(quality, photos):
    found = jpeg_quality(jpeg(photos, quality=quality))

    assert np.mean(np.abs(found - quality) <= 2) >= 0.95


def test_pictures_that_were_never_jpeg_or_were_resized_since_have_no_trace(photos):
    resized = torch.nn.functional.interpolate(jpeg(photos, quality=40), size=(48, 48), mode="bicubic", align_corners=False).clamp(0, 1)
    moved = jpeg(photos, quality=40)[..., 3:, 5:]
    flat = torch.full((3, 3, 32, 32), 0.3)
    tiny = jpeg(photos, quality=40)[..., :7, :7]

    assert [int((jpeg_quality(images) > 0).sum()) for images in (photos, resized, moved, flat, tiny)] == [0, 0, 0, 0, 0]


def test_a_quality_does_not_depend_on_the_batch(photos):
    saved = torch.cat([jpeg(photos[:5], quality=20), jpeg(photos[5:10], quality=60)])

    assert jpeg_quality(saved).tolist() == [int(jpeg_quality(image[None])[0]) for image in saved]


def test_exchange_saves_an_image_at_its_partners_quality_and_carries_nothing_else(photos):
    images, partner = photos[:20], photos[20:].clone()
    partner[:10] = jpeg(partner[:10], quality=15)

    edited = exchange_compression(images, partner)

    assert (jpeg_quality(partner[:10]) == 15).all()
    torch.testing.assert_close(edited[:10], jpeg(images[:10], quality=15), rtol=0, atol=0)
    assert torch.equal(edited[10:], images[10:])


def test_exchange_of_jpegs_with_themselves_changes_little(photos):
    saved = jpeg(photos, quality=30)
    material = Material(saved, np.arange(len(saved)), saved, None, None)

    edited = EDITS["matched_compression"].apply(material)

    assert (edited - saved).abs().mean() < 0.1 * (jpeg(photos, quality=30) - photos).abs().mean()
