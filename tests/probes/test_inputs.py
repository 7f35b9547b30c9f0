"""What is refused before anything is measured: two encoders that are not asked about the same images, and too few of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from probes.embeddings import EmbeddingTable
from probes.inputs import check_sights, check_tables
from probes.probe_input import ProbeInput
from probes.registry import PROBES, measure

COUNT = 80
PIXELS = np.random.default_rng(0).integers(0, 255, (COUNT, 3, 8, 8), dtype=np.uint8)


def sight(name: str, pixels: np.ndarray = PIXELS, *, ids: str = "") -> ProbeInput:
    rows = np.arange(COUNT)
    vectors = np.random.default_rng(1).normal(size=(COUNT, 4))
    domain = np.where(rows < COUNT // 2, "real", "synthetic")
    table = EmbeddingTable(np.array([f"{ids}{row}" for row in rows]), vectors, rows % 2, domain, name)
    return ProbeInput(table, [pixels[: COUNT // 2], pixels[COUNT // 2 :]], lambda images: images.mean(dim=(2, 3)), ("a", "b"))


def test_equal_images_pass_whether_or_not_they_share_an_array():
    student = sight("student")

    check_sights(student, sight("teacher", PIXELS.copy()), None, at_least=8)
    check_sights(student, replace(sight("teacher"), pixels=student.pixels), None, at_least=8)
    check_sights(student, None, None, at_least=8)


@pytest.mark.parametrize("name", [name for name, spec in PROBES.items() if spec.needs == "images"])
def test_no_probe_compares_encoders_that_see_other_pixels(name):
    large = np.repeat(np.repeat(PIXELS, 2, axis=2), 2, axis=3)

    with pytest.raises(ValueError, match="`teacher` must be shown the pixels of `student`, got images of 16 x 16 pixels beside 8 x 8"):
        measure(name, sight("student"), sight("teacher", large), class_weights=np.eye(4, 2))


def test_other_images_under_the_same_ids_and_other_ids_are_refused():
    with pytest.raises(ValueError, match="`teacher` must be shown the pixels of `student`, got another image for '0'"):
        check_sights(sight("student"), sight("teacher", 255 - PIXELS), None, at_least=8)
    with pytest.raises(ValueError, match="`teacher` must have the ids of `student` in the same order, got 'x0' for '0'"):
        check_sights(sight("student"), sight("teacher", ids="x"), None, at_least=8)


def test_a_missing_domain_and_a_small_one_have_remedies_of_their_own():
    table = sight("student").table

    with pytest.raises(ValueError, match="at least 50 real images, got 40; give more real images, or raise the limit"):
        check_tables(table, None, None, at_least=50)
    with pytest.raises(ValueError, match="at least 8 synthetic images, got 0; give held-out synthetic images too"):
        check_tables(table.select(np.arange(COUNT // 2)), None, None, at_least=8)


def test_a_collapsed_encoder_is_called_by_its_name():
    table = sight("student").table
    flat = EmbeddingTable(table.ids, np.ones((COUNT, 4)), table.labels, table.domain, "epoch 3")

    with pytest.raises(ValueError, match="`student` embeddings of 'epoch 3' must vary, got one vector for all 80 images"):
        check_tables(flat, None, None, at_least=8)
