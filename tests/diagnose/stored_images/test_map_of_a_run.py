"""The map of a run: who is on it, over which images, what is kept, and what happens when it breaks. The layout itself is the library's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from diagnose import run
from diagnose.inputs import epochs
from diagnose.inputs.embed import table_of
from diagnose.inputs.subjects import Images, Subject
from diagnose.schema import Report
from diagnose.stored_images import umap_layout
from probes import maps
from probes.result import ProbeResult


@pytest.fixture
def laid_out(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Take two coordinates of the embedding in place of the library's layout, and count the layouts."""
    counted: list[int] = []

    def flat(space: np.ndarray, *_: object, start: np.ndarray | None = None, **__: object) -> np.ndarray:
        if start is None:
            counted.append(1)
        else:
            counted[-1] += 1
        return space[:, :2].copy()

    monkeypatch.setattr(maps, "lay_out", flat)
    return counted


def go(students: list[Subject], teacher: Subject, out: Path, real: Images | None, synthetic: Images | None, **more: object) -> Report:
    settings = {"class_weights": np.eye(4, 3), "name": "trial", "probes": ("map",)} | more
    return run.diagnose(students, teacher, real=real, synthetic=synthetic, out=out, **settings)  # type: ignore[arg-type]


def with_epochs(subject: Subject, count: int = 4) -> Subject:
    return replace(subject, checkpoints={epoch: lambda: subject.encode for epoch in range(1, count + 1)})


def test_one_seed_of_each_loss_is_on_the_map_and_epochs_lead_to_it(students: list[Subject]) -> None:
    chosen = umap_layout.choose_students(students)
    way = umap_layout.stops([with_epochs(student) for student in chosen])

    assert [(s.loss, s.trained_on, s.seed) for s in chosen] == [
        ("l2", "synthetic", 0),
        ("image_image", "synthetic", 0),
        ("image_text", "synthetic", 0),
        ("image_text", "real", 0),
        ("l2", "real", 0),
    ]
    assert [stop.epoch for stop in way[:8]] == [1, 2, 3, None] * 2
    assert [stop.epoch for stop in way if stop.subject.trained_on == "real"] == [None, None]


def test_many_epochs_are_thinned_to_the_budget_from_first_to_last(students: list[Subject]) -> None:
    way = umap_layout.stops([with_epochs(student, 40) for student in students[:3]])

    assert len(way) <= umap_layout.MOST_MAPS - 1
    assert next(stop.epoch for stop in way if stop.subject is way[0].subject) == 1
    assert max(stop.epoch for stop in way if stop.epoch is not None) == 39


def test_images_on_the_map_come_in_pairs_of_one_class_those_with_maps_first(real: Images, synthetic: Images, teacher: Subject) -> None:
    table = table_of(teacher.encode, "t", (real, synthetic))
    first = np.array(["real-7", "synthetic-10", "gone", "synthetic-1"])

    rows = umap_layout.choose_rows(table, first, each=40, seed=0)

    ids, labels, domain = table.ids[rows], table.labels[rows], table.domain[rows]
    assert len(rows) == 80
    assert {"real-7", "synthetic-10"} <= set(ids)
    np.testing.assert_array_equal(np.bincount(labels[domain == "real"]), np.bincount(labels[domain == "synthetic"]))


def test_a_diagnosis_writes_its_map_with_neighbours_and_pictures_of_every_point(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path, laid_out: list[int]
) -> None:
    found = go([with_epochs(students[0]), students[2]], teacher, tmp_path, real, synthetic)

    record = found.probes[-1]
    result = ProbeResult.load(tmp_path / record.path.removesuffix(".json"))
    assert (record.probe, record.subject, record.status) == ("map", teacher.name, "done")
    assert [(one["subject"], one["epoch"]) for one in result.params["maps"]] == [
        (teacher.name, None),
        *((students[0].name, epoch) for epoch in (1, 2, 3, None)),
        (students[2].name, None),
    ]
    assert result.arrays["neighbours/0"].shape == (len(result.arrays["ids"]), 15)
    assert set(result.arrays["ids"]) <= set(pq.read_table(tmp_path / "thumbnails.parquet")["id"].to_pylist())
    assert np.load(tmp_path / "class_weights.npy").shape == (4, 3)


def test_the_map_is_not_laid_out_again_unless_something_changed_and_is_the_same_for_the_same_seed(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path, laid_out: list[int]
) -> None:
    go(students[:1], teacher, tmp_path / "a", real, synthetic)
    go(students[:1], teacher, tmp_path / "a", real, synthetic)
    go(students[:1], teacher, tmp_path / "b", real, synthetic)
    assert len(laid_out) == 2

    first, other = (next((tmp_path / run / "probes" / "map").glob("*.npz")) for run in "ab")
    with np.load(first, allow_pickle=False) as one, np.load(other, allow_pickle=False) as two:
        for name in one.files:
            np.testing.assert_array_equal(one[name], two[name])
    go([replace(students[0], weights_hash="other")], teacher, tmp_path / "a", real, synthetic)
    assert len(laid_out) == 3
    next((tmp_path / "a" / "probes" / "map").glob("*.npz")).write_bytes(b"PK broken")
    go([replace(students[0], weights_hash="other")], teacher, tmp_path / "a", real, synthetic)
    assert len(laid_out) == 4


def test_an_interrupted_layout_leaves_no_half_map_and_the_next_call_makes_it(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path, laid_out: list[int], monkeypatch
) -> None:
    whole = maps.lay_out

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(maps, "lay_out", stopped)
    with pytest.raises(KeyboardInterrupt):
        go(students[:1], teacher, tmp_path, real, synthetic)
    assert not (tmp_path / "done").exists()
    assert not list((tmp_path / "probes").rglob("*.json"))
    monkeypatch.setattr(maps, "lay_out", whole)

    assert go(students[:1], teacher, tmp_path, real, synthetic).probes[-1].status == "done"


def test_a_map_that_cannot_be_made_is_recorded_and_the_probes_go_on(
    students: list[Subject], teacher: Subject, real: Images, tmp_path: Path, laid_out: list[int]
) -> None:
    few = replace(real, **{name: getattr(real, name)[:12] for name in ("ids", "labels", "pixels")}, fingerprint="")
    made = replace(few, domain="synthetic", fingerprint="")

    alone = go(students[:1], teacher, tmp_path / "alone", real, None)
    small = go(students[:1], teacher, tmp_path / "small", few, made, probes=("transfer", "map"))

    assert "at least 30 synthetic images, got 0" in alone.probes[-1].error
    assert [record.status for record in small.probes] == ["done", "failed"]
    assert "at least 30 real images, got 12" in small.probes[-1].error


def test_the_few_images_of_an_epoch_hold_those_that_attribution_explains(real: Images, synthetic: Images, monkeypatch) -> None:
    monkeypatch.setattr(epochs, "EPOCH_IMAGES", 20)
    monkeypatch.setattr(epochs, "EXPLAINED", 5)

    few = epochs.few_images((real, synthetic), seed=3)

    ids = np.concatenate([real.ids, synthetic.ids])[epochs.explained_rows((real, synthetic), seed=3)]
    assert set(ids) <= set(np.concatenate([images.ids for images in few]))
    assert all(20 <= len(images) <= 25 for images in few)
    assert np.array_equal(few[0].pixels[3], real.pixels[real.ids.tolist().index(few[0].ids[3])])


def test_a_map_without_any_student_says_why_there_is_none(
    teacher: Subject, students: list[Subject], real: Images, synthetic: Images, tmp_path: Path
) -> None:
    broken = replace(students[0], encode=lambda images: torch.full((len(images), 4), float("nan")))

    found = go([broken], teacher, tmp_path, real, synthetic)

    [record] = found.probes
    assert (record.probe, record.status) == ("map", "failed")
    assert "must be finite, got NaN or infinity" in record.error


def test_a_verdict_without_transfer_says_that_it_was_not_asked_for(
    teacher: Subject, students: list[Subject], real: Images, synthetic: Images, tmp_path: Path
) -> None:
    found = go(students[:1], teacher, tmp_path, real, synthetic, probes=("drift",))

    assert found.verdict.label == "inconclusive"
    assert found.verdict.statement == (
        "Nothing can be said about real against synthetic images: the probe `transfer`, which a verdict rests on, was not among those asked for "
        "(drift); ask for it too."
    )
