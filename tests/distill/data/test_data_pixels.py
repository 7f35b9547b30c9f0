"""Decoding many images: the array, its cache on disk, and what happens when the disk does not play along."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distill.data import pixel_cache as module
from distill.data.decode import decode, fit
from distill.data.split import load_split


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTHGAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_warned", set())
    return tmp_path / "cache" / "pixels"


def picture(seed: int, height: int = 8, width: int = 8, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def store(folder: Path, images: list[bytes]) -> Path:
    path = folder / "x.parquet"
    pq.write_table(pa.table({"image": images, "class_name": ["cat"] * len(images), "domain": ["real"] * len(images)}), path)
    return path


def test_pixels_are_those_of_every_image_in_order(tmp_path: Path) -> None:
    count = 2 * module.CHUNK + 3  # several chunks, the last one partly filled
    images = [picture(seed) for seed in range(count)]

    array = load_split(store(tmp_path, images)).pixels()

    assert (array.shape, array.dtype) == ((count, 3, 8, 8), np.uint8)
    assert np.array_equal(array, np.stack([np.asarray(decode(data)).transpose(2, 0, 1) for data in images]))


def test_size_resizes_and_crops_images_of_any_size(tmp_path: Path) -> None:
    images = [picture(0, 20, 30), picture(1, 9, 5)]

    array = load_split(store(tmp_path, images)).pixels(6)

    assert np.array_equal(array, np.stack([np.asarray(fit(decode(data), 6)).transpose(2, 0, 1) for data in images]))


def test_unequal_sizes_without_size_are_an_error_with_the_remedy(tmp_path: Path) -> None:
    split = load_split(store(tmp_path, [picture(0, 8, 8), picture(1, 9, 5)]))

    with pytest.raises(ValueError, match=r"got 8 x 8 and 5 x 9 \(real/x/1\); give `size`"):
        split.pixels()


def test_second_call_maps_the_first_ones_file(tmp_path: Path, cache: Path) -> None:
    path = store(tmp_path, [picture(0), picture(1)])
    first = load_split(path).pixels()
    (file,) = cache.iterdir()
    before = file.stat().st_mtime_ns

    again = load_split(path).pixels()

    assert isinstance(again, np.memmap)
    assert np.array_equal(first, again)
    assert [entry.name for entry in cache.iterdir()] == [file.name]
    assert file.stat().st_mtime_ns == before


def test_each_size_and_content_has_its_own_file(tmp_path: Path, cache: Path) -> None:
    load_split(store(tmp_path, [picture(0)])).pixels()
    load_split(store(tmp_path, [picture(0)])).pixels(4)
    load_split(store(tmp_path, [picture(1)])).pixels()

    assert len(list(cache.iterdir())) == 3


def test_writing_to_the_array_never_reaches_the_file(tmp_path: Path) -> None:
    path = store(tmp_path, [picture(0)])
    split = load_split(path)
    before = split.pixels().copy()

    split.pixels()[:] = 0

    assert np.array_equal(load_split(path).pixels(), before)


def test_damaged_cache_file_is_decoded_again(tmp_path: Path, cache: Path) -> None:
    path = store(tmp_path, [picture(0), picture(1)])
    expected = np.array(load_split(path).pixels())
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:-50])

    assert np.array_equal(load_split(path).pixels(), expected)


def test_cache_folder_that_cannot_be_made_warns_once_and_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SYNTHGAP_CACHE", str(tmp_path / "file"))
    path = store(tmp_path, [picture(0)])

    with caplog.at_level(logging.WARNING):
        arrays = [load_split(path).pixels() for _ in range(2)]

    assert np.array_equal(arrays[0][0], np.asarray(decode(picture(0))).transpose(2, 0, 1))
    assert np.array_equal(*arrays)
    assert [record.message.count("SYNTHGAP_CACHE") for record in caplog.records] == [1]


def test_full_disk_warns_leaves_nothing_and_works(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)

    array = load_split(store(tmp_path, [picture(0)])).pixels()

    assert array.shape == (1, 3, 8, 8)
    assert "No space left on device" in caplog.text
    assert list(cache.iterdir()) == []


def test_bad_image_leaves_no_partial_file(tmp_path: Path, cache: Path) -> None:
    images = [picture(seed) for seed in range(module.CHUNK)] + [b"junk"]

    with pytest.raises(ValueError, match="unreadable"):
        load_split(store(tmp_path, images)).pixels()

    assert list(cache.iterdir()) == []


def test_two_processes_at_once_both_get_the_whole_array(tmp_path: Path, cache: Path) -> None:
    path = store(tmp_path, [picture(seed) for seed in range(600)])
    script = "import sys; from distill.data.split import load_split; print(int(load_split(sys.argv[1]).pixels().sum()))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", script, str(path)]

    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) for _ in range(2)]
    sums = {run.communicate(timeout=60)[0].strip() for run in runs}

    assert sums == {str(int(load_split(path).pixels().sum()))}
    assert len(list(cache.iterdir())) == 1


def test_progress_goes_to_standard_error_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes any stream for a terminal
    load_split(store(tmp_path, [picture(0)])).pixels(progress=True)

    captured = capfd.readouterr()
    assert captured.out == ""
    assert "decoding x" in captured.err


def test_selection_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must hold at least one image"):
        load_split(store(tmp_path, [picture(0)])).select([]).pixels()


@pytest.mark.parametrize("size", [0, -3])
def test_size_below_one_pixel_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(ValueError, match=f"`size` must be at least 1 pixel and at most 2048, got {size}"):
        load_split(store(tmp_path, [picture(0)])).pixels(size)


def test_ten_thousand_small_jpegs_decode_in_seconds(tmp_path: Path) -> None:
    """About 1 s on one quiet core; twenty times that here, so that only a wrong order of growth fails it."""
    files = [picture(seed, 32, 32, "JPEG") for seed in range(50)]
    split = load_split(store(tmp_path, [files[index % 50] for index in range(10_000)]))

    start = time.perf_counter()
    split.pixels()

    assert time.perf_counter() - start < 20
