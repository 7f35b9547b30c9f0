"""The fifteen corruptions: definitions by hand, laws, batch-size independence; and the probe beside the teacher."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from probes.compute import memoize
from probes.corruptions.blur import disc, enlarged, smear
from probes.corruptions.kinds import CORRUPTIONS, corrupt
from probes.corruptions.probe import LEAST_IMAGES, corruptions
from probes.corruptions.severity import CIFAR, IMAGENET, corruption_settings
from probes.corruptions.weather import plasma
from probes.embeddings import embed
from probes.probe_input import ProbeInput
from probes.stats import paired

every_kind = pytest.mark.parametrize("kind", list(CORRUPTIONS))


@pytest.fixture(scope="module")
def images():
    """Smooth coloured blobs with a sharp square, on whole eight-bit steps."""
    rng = np.random.default_rng(0)
    soft = np.stack([enlarged(rng.random((3, 3, 24, 24)), 6.0)[:, c] for c in range(3)], axis=1)
    soft[:, :, 5:15, 8:18] = rng.random((3, 3, 1, 1))
    return (np.round(soft * 255) / 255).astype(np.float32)


@every_kind
def test_a_corruption_keeps_shape_and_range_and_does_not_depend_on_the_batch(kind, images):
    keys = np.array([5, 9, 7])

    together = corrupt(images, kind, 3, keys=keys)
    alone = np.concatenate([corrupt(images[i : i + 1], kind, 3, keys=keys[i : i + 1]) for i in range(3)])

    assert together.shape == images.shape
    assert together.dtype == np.float32
    assert together.min() >= 0
    assert together.max() <= 1
    np.testing.assert_allclose(together * 255, np.round(together * 255), atol=1e-3)
    np.testing.assert_allclose(alone, together, atol=1 / 255 + 1e-6)  # a convolution may round the last bit otherwise
    assert np.abs(together - images).mean() > 1e-4


@every_kind
def test_large_images_take_the_other_settings(kind):
    image = np.random.default_rng(1).random((1, 3, 96, 100)).astype(np.float32)

    assert corrupt(image, kind, 1, keys=np.array([0])).shape == image.shape
    assert corruption_settings(kind, 1, 96).source == "ImageNet-C"
    assert corruption_settings(kind, 1, 95).source == "CIFAR-10-C"


@pytest.mark.parametrize(
    "kind", ["gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "zoom_blur", "brightness", "contrast", "fog", "snow"]
)
def test_the_strongest_severity_changes_more_than_the_weakest(kind, images):
    """Not so for glass, motion and elastic by their published numbers, where one number rises as another falls."""
    weak, strong = (np.abs(corrupt(images, kind, severity, keys=np.arange(3)) - images).mean() for severity in (1, 5))

    assert strong > 1.2 * weak


def test_noise_has_the_published_spread():
    grey = np.full((8, 3, 32, 32), 0.5, dtype=np.float32)  # 24,576 values: the error of a spread is 0.5 %

    assert corrupt(grey, "gaussian_noise", 5, keys=np.arange(8)).std() == pytest.approx(0.10, rel=0.03)
    assert corrupt(grey, "shot_noise", 5, keys=np.arange(8)).std() == pytest.approx(np.sqrt(0.5 / 50), rel=0.03)
    struck = corrupt(grey, "impulse_noise", 5, keys=np.arange(8))
    assert np.mean(struck == 0) == pytest.approx(0.035, abs=0.005)
    assert np.mean(struck == 1) == pytest.approx(0.035, abs=0.005)


def test_contrast_and_brightness_follow_their_formulas(images):
    means = images.mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(corrupt(images, "contrast", 2, keys=np.arange(3)), (images - means) * 0.5 + means, atol=1.01 / 255)

    from skimage.color import hsv2rgb, rgb2hsv

    hsv = rgb2hsv(images.transpose(0, 2, 3, 1))
    hsv[..., 2] = np.clip(hsv[..., 2] + 0.3, 0, 1)
    np.testing.assert_allclose(corrupt(images, "brightness", 5, keys=np.arange(3)), hsv2rgb(hsv).transpose(0, 3, 1, 2), atol=1.01 / 255)


def test_jpeg_and_pixelate_are_pillows(images):
    picture = Image.fromarray((images[0] * 255).round().astype(np.uint8).transpose(1, 2, 0))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=40)
    small = picture.resize((15, 15), Image.Resampling.BOX).resize((24, 24), Image.Resampling.BOX)

    found = {
        kind: (corrupt(images[:1], kind, 5, keys=np.array([0]))[0] * 255).round().transpose(1, 2, 0)
        for kind in ("jpeg_compression", "pixelate")
    }

    np.testing.assert_array_equal(found["jpeg_compression"], np.asarray(Image.open(buffer)))
    np.testing.assert_array_equal(found["pixelate"], np.asarray(small))


def test_a_disc_is_round_and_sums_to_one():
    kernel = disc(3.0, 0.1)

    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-7)
    assert (kernel > 1e-4).sum() == 29  # whole points within radius 3


def test_a_smear_moves_a_point_along_its_angle_and_keeps_a_flat_image():
    point = np.zeros((1, 1, 15, 15))
    point[0, 0, 7, 7] = 1

    smeared = smear(point, 3, 2.0, np.array([0.0]))[0, 0]

    assert smeared.sum() == pytest.approx(1)
    assert (smeared.sum(axis=1) > 0).tolist() == [row == 7 for row in range(15)]  # angle 0 is along the row
    assert (np.diff(smeared[7, 1:8]) > 0).all()  # half a Gaussian: heaviest where the point is
    np.testing.assert_allclose(smear(np.full((1, 1, 9, 9), 0.3), 3, 2.0, np.array([30.0])), 0.3)


def test_plasma_is_rougher_for_a_smaller_decay():
    def roughness(decay):
        field = plasma((64, 64), decay, [np.random.default_rng(seed) for seed in range(8)])
        return np.abs(np.diff(field, axis=3)).mean() / field.std()

    assert plasma((20, 33), 2.0, [np.random.default_rng(0)]).shape == (1, 1, 20, 33)
    assert roughness(1.4) > roughness(2.0) > roughness(3.0)


def test_glass_keeps_a_flat_image_and_the_values_of_a_picture():
    flat = np.full((1, 3, 32, 32), 0.4, dtype=np.float32)
    np.testing.assert_allclose(corrupt(flat, "glass_blur", 4, keys=np.array([0])), flat, atol=1.01 / 255)


def test_both_tables_hold_fifteen_kinds_of_five_severities():
    assert list(CIFAR) == list(IMAGENET) == list(CORRUPTIONS)
    assert {len(numbers) for table in (CIFAR, IMAGENET) for numbers in table.values()} == {5}


def test_unknown_kinds_and_severities_are_refused(images):
    with pytest.raises(ValueError, match="`name` must be a corruption, got 'rain'"):
        corrupt(images, "rain", 1, keys=np.arange(3))
    with pytest.raises(ValueError, match="`severity` must be 1 to 5, got 6"):
        corrupt(images, "fog", 6, keys=np.arange(3))


class Colours(nn.Module):
    """Embeds an image by its mean colour, its classes' texts; or by the colour of its corner pixel, which noise and moves change."""

    def __init__(self, *, corner: bool) -> None:
        super().__init__()
        self.corner = corner

    def forward(self, images):
        return (images[:, :, 0, 0] if self.corner else images.mean(dim=(2, 3))) + 1e-3


def _sight(corner: bool, name: str, images=120):
    """Red, green and blue images with a little noise, both domains alike."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % 3
    pixels = np.full((images, 3, 12, 12), 60)
    pixels[np.arange(images), labels] = 110
    pixels = (pixels + rng.integers(-5, 5, size=pixels.shape)).astype(np.uint8)
    encode = Colours(corner=corner).eval()
    domain = np.where(np.arange(images) < images // 2, "real", "synthetic")
    ids = [f"i{row}" for row in range(images)]
    table = embed(encode, [torch.from_numpy(pixels)], ids=ids, labels=labels, domain=domain, name=name)
    return ProbeInput(table, [pixels[: images // 2], pixels[images // 2 :]], encode, ("red", "green", "blue"))


FEW = {"kinds": ("impulse_noise", "gaussian_noise", "contrast"), "class_weights": np.eye(3)}


@pytest.fixture(autouse=True)
def _forget():
    memoize.forget()


def test_an_encoder_that_hangs_on_one_pixel_loses_more_than_its_teacher():
    result = corruptions(_sight(True, "student"), _sight(False, "teacher"), **FEW)

    scores = result.scores
    for domain in ("real", "synthetic"):
        assert scores[f"clean/{domain}"].value == scores[f"teacher/clean/{domain}"].value == 1.0
        assert scores[f"teacher/drop/{domain}"].value == pytest.approx(0.0, abs=0.01)
        assert scores[f"excess/gaussian_noise/{domain}"].low > 0
        assert scores[f"excess/mean/{domain}"].value == pytest.approx(
            scores[f"drop/{domain}"].value - scores[f"teacher/drop/{domain}"].value
        )
        assert result.arrays[f"accuracy/{domain}"].shape == (3, 5)
        assert result.arrays[f"accuracy/{domain}"].mean() == pytest.approx(scores[f"mean/{domain}"].value)
    assert result.params["severities_from"] == ["CIFAR-10-C"]


def test_a_twin_of_the_teacher_has_no_excess():
    scores = corruptions(_sight(True, "student"), _sight(True, "teacher"), **FEW).scores

    for name, score in scores.items():
        if name.startswith("excess"):
            assert score.value == 0
            assert score.low < 0 < score.high


def test_the_probe_repeats_itself_reports_progress_and_remembers_the_teacher():
    student, teacher = _sight(True, "student"), _sight(False, "teacher")
    told: list[tuple[int, int]] = []

    first = corruptions(student, teacher, progress=lambda done, total: told.append((done, total)), seed=3, limit=9, **FEW)
    again = corruptions(student, teacher, seed=3, limit=9, **FEW)

    assert first.to_dict() == again.to_dict()
    assert told[-1][0] == told[-1][1] == 2 * 18 * 16
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert first.counts["images/real"] == 9


def test_what_the_probe_cannot_use_is_refused():
    student = _sight(False, "student")

    with pytest.raises(ValueError, match="`class_weights` must be a"):
        corruptions(student, None)
    with pytest.raises(ValueError, match="`name` must be a corruption, got 'rain'"):
        corruptions(student, None, class_weights=np.eye(3), kinds=("rain",))
    with pytest.raises(ValueError, match="`limit` must be at least 4 images of each domain, got 3"):
        corruptions(student, None, class_weights=np.eye(3), limit=3)
    tiny = ProbeInput(student.table, [np.zeros((120, 3, 6, 6), np.uint8)], student.encode, student.class_names)
    with pytest.raises(ValueError, match="at least 8 pixels"):
        corruptions(tiny, None, class_weights=np.eye(3))


@pytest.mark.parametrize(("images", "stands"), [(LEAST_IMAGES - 1, False), (LEAST_IMAGES, True)])
def test_the_least_images_are_those_with_which_losing_every_image_stands(images, stands):
    low, _ = paired.around(paired.middle_and_error(np.ones(images)))

    assert (low > 0) is stands
