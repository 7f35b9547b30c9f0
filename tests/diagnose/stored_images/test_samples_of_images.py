"""The images that a report keeps: those its numbers lead to, and those of `interventions` before and after every edit."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from diagnose.inputs.embed import table_of
from diagnose.inputs.subjects import Images
from diagnose.stored_images import edited_samples, samples
from probes.edits import EDITS
from probes.interventions.probe import interventions
from probes.probe_input import ProbeInput
from probes.result import ProbeResult

CLASSES, COUNT, SIDE = ("ant", "bee", "cat"), 30, 16
EDITS_ASKED = ("grey", "noise", "patch_shuffle_2", "swapped_chroma", "swapped_noise", "matched_border")


def images_of(domain: str, seed: int) -> Images:
    pixels = np.random.default_rng(seed).integers(0, 256, (COUNT, 3, SIDE, SIDE), dtype=np.uint8)
    return Images(domain, np.array([f"{domain}-{n}" for n in range(COUNT)]), np.arange(COUNT) % 3, pixels, CLASSES)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def asked() -> tuple[list[Images], dict[str, ProbeResult], list[np.ndarray]]:
    """A student and a teacher that look at colour, asked by the probe; and every image that the student was shown, as bytes."""
    given, seen = [images_of("real", 0), images_of("synthetic", 1)], []

    def student(images: torch.Tensor) -> torch.Tensor:
        seen.extend(np.round(255 * images.clamp(0, 1).numpy()).astype(np.uint8))
        return images.mean(dim=(2, 3))

    sights = []
    for name, encode in (("student", student), ("teacher", lambda images: images[:, :, ::2].mean(dim=(2, 3)))):
        table = table_of(encode, name, given)
        sights.append(ProbeInput(table, [images.pixels for images in given], encode, CLASSES))
    result = interventions(sights[0], sights[1], class_weights=np.eye(3), seed=3, limit=20, edits=EDITS_ASKED, draws=10)
    return given, {"student": result}, seen


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content))).transpose(2, 0, 1)


def test_every_kept_image_is_one_that_the_probe_showed_to_the_student(asked) -> None:
    given, results, seen = asked
    shown = {image.tobytes() for image in seen}

    rows = edited_samples.edited_samples(given, results)

    assert {row.edit for row in rows} == {"none", *EDITS_ASKED}
    # Rounding of a value that lies at .5 may go either way in another batch: compare to within one of 255 steps.
    table = np.stack(seen).astype(int)
    for row in rows:
        image = decoded(row.image)
        assert image.tobytes() in shown or np.abs(table - image).max(axis=(1, 2, 3)).min() <= 1, row.edit


def test_partners_are_named_and_kept_and_of_the_class_and_domain_that_the_kind_says(asked) -> None:
    given, results, _ = asked

    rows = edited_samples.edited_samples(given, results)

    whole = {row.id: row for row in rows if row.edit == "none"}
    assert {row.id for row in rows} | {row.partner for row in rows if row.partner} == set(whole)
    for row in rows:
        assert bool(row.partner) == (row.edit != "none" and EDITS[row.edit].partnered)
        if row.edit.startswith("swapped_"):
            assert whole[row.partner].class_name != row.class_name
            assert whole[row.partner].domain == row.domain
        elif row.edit.startswith("matched_"):
            assert whole[row.partner].class_name == row.class_name
            assert whole[row.partner].domain != row.domain


def test_telling_images_are_those_on_which_only_the_student_changes_its_answer(asked) -> None:
    given, results, _ = asked
    arrays = results["student"].arrays
    at = {name: row for row, name in enumerate(arrays["edits"].astype(str))}
    place = {name: row for row, name in enumerate(arrays["ids"].astype(str))}

    rows = [row for row in edited_samples.edited_samples(given, results, telling=2, by_lot=3) if row.edit != "none"]

    assert sum(row.telling for row in rows) > 0
    for row in rows:
        said, its = (arrays[name][:, place[row.id]] for name in ("prediction", "teacher/prediction"))
        if row.telling:
            assert said[at[row.edit]] != said[at["none"]]
            assert its[at[row.edit]] == its[at["none"]]
    for edit in EDITS_ASKED:
        for domain in ("real", "synthetic"):
            given_to_real_alone = edit.startswith("matched_") and domain == "synthetic"
            assert sum(row.edit == edit and row.domain == domain for row in rows) == (0 if given_to_real_alone else 5)


def test_without_interventions_there_is_an_empty_table_with_its_columns(tmp_path: Path) -> None:
    path = edited_samples.write(edited_samples.edited_samples([images_of("real", 0)], {}), tmp_path / "edited.parquet")

    table = pd.read_parquet(path)
    assert tuple(table.columns) == edited_samples.COLUMNS
    assert table.empty


def test_images_that_numbers_lead_to_are_added_once_and_up_to_a_bound() -> None:
    given = [images_of("real", 0), images_of("synthetic", 1)]
    tops = np.array([["real-1", "real-2"], ["real-1", "synthetic-3"]])
    discovery = ProbeResult("discovery", "s", None, {}, {"component/top_images": tops}, {})
    ids, labels = np.concatenate([images.ids for images in given]), np.concatenate([images.labels for images in given])
    said = labels.copy()
    said[[0, 3, 6]] = 1, 1, 2  # real images of class 0: two taken for 1, one for 2
    domain = np.repeat(["real", "synthetic"], COUNT)
    transfer = ProbeResult("transfer", "s", None, {}, {"prediction": said, "labels": labels, "ids": ids, "domain": domain}, {})
    results = {"discovery": {"s": discovery}, "transfer": {"s": transfer}}

    rows = samples.pointed(given, results, {"real-2"})
    few = samples.pointed(given, results, set(), limit=2)

    assert sorted(row.id for row in rows) == ["real-0", "real-1", "real-3", "synthetic-3"]
    assert len(few) == 2


def test_images_that_a_student_sees_least_and_most_like_its_teacher_are_among_those_that_numbers_lead_to() -> None:
    given = [images_of("real", 0), images_of("synthetic", 1)]
    ids = np.concatenate([images.ids for images in given])
    likeness = np.linspace(-0.5, 1, len(ids))
    domain = np.repeat(["real", "synthetic"], COUNT)
    drift = ProbeResult("drift", "s", None, {}, {"cosine": likeness, "ids": ids, "domain": domain}, {})

    rows = [row.id for row in samples.pointed(given, {"drift": {"s": drift}}, set(), limit=3)]

    assert rows == [ids[0], ids[COUNT - 1], ids[COUNT]]  # the least alike real one, the most alike real one, the least alike synthetic one
