"""The same image in both domains: a few are left out and counted, many are refused with their count, however they came there."""

from __future__ import annotations

import io
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distill.data.duplicates import refuse_shared_files, shared_rows, warn_of_leaks, without_shared_images
from distill.data.split import Split, load_split

COUNT = 40


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def write(path: Path, seeds: range, *, make: Callable[[np.ndarray], bytes] = encoded, prefix: str = "") -> Path:
    """Write a parquet file of images, cats and dogs in turn."""
    images = [make(noise(seed)) for seed in seeds]
    names = ["cat", "dog"] * (len(images) // 2)
    pq.write_table(pa.table({"id": [f"{prefix}{seed}" for seed in seeds], "image": images, "class_name": names}), path)
    return path


def split(path: Path, domain: str) -> Split:
    return load_split(path, domain=domain)


def test_shared_rows_finds_equal_images_and_no_near_ones() -> None:
    first = np.stack([noise(seed) for seed in range(6)]).transpose(0, 3, 1, 2)
    second = first[[4, 1, 4]].copy()
    second[1, 0, 1, 1] ^= 1  # where the first comparison does not look

    rows = shared_rows(first, second)

    assert [part.tolist() for part in rows] == [[4], [0, 2]]
    assert [len(part) for part in shared_rows(first, first[:, :, :4])] == [0, 0]


def test_domains_without_a_shared_image_stay_the_very_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    real, synthetic = (
        split(write(tmp_path / "a.parquet", range(COUNT)), "real"),
        split(write(tmp_path / "b.parquet", range(100, 100 + COUNT)), "synthetic"),
    )

    assert without_shared_images(real, synthetic, 8) == (real, synthetic)
    assert caplog.text == ""


def test_a_few_shared_images_are_left_out_of_both_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    real = split(write(tmp_path / "a.parquet", range(COUNT), prefix="r"), "real")
    synthetic = split(write(tmp_path / "b.parquet", range(COUNT - 3, 2 * COUNT - 3), prefix="s"), "synthetic")

    with caplog.at_level(logging.WARNING):
        kept = without_shared_images(real, synthetic, 8)

    assert [part.ids.tolist() for part in kept] == [[f"r{n}" for n in range(37)], [f"s{n}" for n in range(40, 77)]]
    assert "left out: 3 real and 3 synthetic images whose pixels are the same in both domains, such as r37 and s37" in caplog.text


def test_many_shared_images_are_refused_with_their_count(tmp_path: Path) -> None:
    real = split(write(tmp_path / "a.parquet", range(COUNT), prefix="r"), "real")
    synthetic = split(write(tmp_path / "b.parquet", range(COUNT - 5, 2 * COUNT - 5), prefix="s"), "synthetic")

    with pytest.raises(ValueError, match=r"got 5 of 40 in `a` and 5 of 40 in `b` with the same pixels, such as r35 and s35"):
        without_shared_images(real, synthetic, 8)


def bitmap(pixels: np.ndarray) -> bytes:
    return encoded(pixels, "BMP")


def folder(root: Path) -> Path:
    for seed in range(COUNT):
        path = root / ("cat", "dog")[seed % 2] / f"{seed:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(noise(seed)))
    return root


def same(place: Path) -> Path:
    return place


def linked(place: Path) -> Path:
    other = place.with_name("linked")
    other.symlink_to(place)
    return other


def copied(place: Path) -> Path:
    return Path(shutil.copytree(place, place.with_name("copied")))


def renamed(place: Path) -> Path:
    """A copy with other names, in another order."""
    other = copied(place)
    for path in sorted(other.rglob("*.png")):
        path.rename(path.with_name(f"{99 - int(path.stem)}.png"))
    return other


def hard_linked(place: Path) -> Path:
    return Path(shutil.copytree(place, place.with_name("hard"), copy_function=os.link))


def as_parquet(place: Path) -> Path:
    return write(place.with_name("same.parquet"), range(COUNT))


def as_bitmaps(place: Path) -> Path:
    return write(place.with_name("bitmaps.parquet"), range(COUNT), make=bitmap)


def as_array(place: Path) -> Path:
    path = place.with_name("same.npz")
    np.savez(path, images=np.stack([noise(seed) for seed in range(COUNT)]), labels=np.array(["cat", "dog"] * (COUNT // 2)))
    return path


@pytest.mark.parametrize("other", [same, linked, copied, renamed, hard_linked, as_parquet, as_bitmaps, as_array])
def test_the_same_images_given_twice_are_refused_however_they_are_kept(tmp_path: Path, other: Callable[[Path], Path]) -> None:
    real = folder(tmp_path / "images")

    with pytest.raises(ValueError, match=rf"got {COUNT} of {COUNT} in `images` and {COUNT} of {COUNT} in `.*was one folder given twice"):
        without_shared_images(split(real, "real"), split(other(real), "synthetic"), 8)


def test_a_limit_does_not_hide_that_one_folder_was_given_twice(tmp_path: Path) -> None:
    from diagnose.inputs.load import load_images

    real = folder(tmp_path / "images")

    with pytest.raises(ValueError, match=f"got {COUNT} of {COUNT}"):
        refuse_shared_files(split(real, "real"), split(renamed(real), "synthetic"))
    with pytest.raises(ValueError, match="must be different images"):
        load_images(split(real, "real"), split(real, "synthetic"), 8, limit=4)


def test_images_of_a_diagnosis_are_without_the_shared_ones(tmp_path: Path) -> None:
    from diagnose.inputs.load import load_images

    real = split(write(tmp_path / "a.parquet", range(COUNT)), "real")
    synthetic = split(write(tmp_path / "b.parquet", range(COUNT - 2, 2 * COUNT - 2)), "synthetic")

    images = load_images(real, synthetic, 8)

    assert {domain: len(one) for domain, one in images.items()} == {"real": 38, "synthetic": 38}


def test_one_image_in_two_classes_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "a.parquet", range(COUNT))
    table = pq.read_table(path)
    images = table.column("image").to_pylist()
    images[3] = images[0]  # a dog that is a cat
    images[4] = images[2]  # one cat twice says nothing
    pq.write_table(table.set_column(1, "image", pa.array(images)), path)

    with caplog.at_level(logging.WARNING):
        without_shared_images(split(path, "real"), split(write(tmp_path / "b.parquet", range(100, 110)), "synthetic"), 8)

    assert "2 images of `a` stand in several classes with the same pixels, such as 0 and 3" in caplog.text
    assert "of `b`" not in caplog.text


def test_classes_that_are_only_written_differently_are_told_apart_from_missing_ones(tmp_path: Path) -> None:
    from distill.data.split import require_same_classes

    sources = {}
    for file, names in {"a": ["great white", "dog"], "b": ["Great_White", "dog"], "c": ["eel", "dog"]}.items():
        pq.write_table(pa.table({"image": [encoded(noise(0)), encoded(noise(1))], "label": names}), tmp_path / f"{file}.parquet")
        sources[file] = split(tmp_path / f"{file}.parquet", "real")

    with pytest.raises(ValueError, match="write them alike, capitals and underscores too"):
        require_same_classes(sources["a"], sources["b"])
    with pytest.raises(ValueError, match="add or remove these classes"):
        require_same_classes(sources["a"], sources["c"])


def test_held_out_images_that_were_trained_on_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train = split(write(tmp_path / "a.parquet", range(COUNT)), "real")
    test = split(write(tmp_path / "b.parquet", range(COUNT - 4, COUNT + 6), prefix="t"), "real")

    with caplog.at_level(logging.WARNING):
        warn_of_leaks({"real": train}, {"real": test, "synthetic": split(write(tmp_path / "c.parquet", range(90, 100)), "synthetic")})

    assert "4 of 10 held-out images of real are among the training images of real" in caplog.text
    assert "synthetic" not in caplog.text


def test_an_experiment_on_one_set_as_both_domains_is_refused(write_config: Callable[..., Path], tiny_data: Path, tmp_path: Path) -> None:
    from distill.training.config import read_experiment
    from distill.training.experiment import open_experiment

    for part in ("train", "test"):
        table = pq.read_table(tiny_data / f"{part}-real.parquet").drop_columns(["domain"])
        pq.write_table(table, tmp_path / f"{part}.parquet")
        table = pq.read_table(tiny_data / f"{part}-synthetic.parquet")
        pq.write_table(table, tmp_path / f"{part}-synthetic.parquet")
    students = {"l2": {"loss": {"l2": 1.0}, "trained_on": ["real", "synthetic"]}}
    same, other = {"real": "test.parquet", "synthetic": "test.parquet"}, {"real": "test.parquet", "synthetic": "test-synthetic.parquet"}
    cases = [({"train": {"real": "train.parquet", "synthetic": "train-synthetic.parquet"}, "test": same}, "got 30 of 30 in `test`")]
    cases += [({"train": {"real": "train.parquet", "synthetic": "train.parquet"}, "test": other}, "got 48 of 48 in `train`")]

    for data, message in cases:
        experiment = read_experiment(write_config(data={"folder": str(tmp_path)} | data, students=students))
        with pytest.raises(ValueError, match=message):
            open_experiment(experiment)
