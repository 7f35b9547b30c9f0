"""Arrays, folders of `save_to_disk`, shards whose keys have dots, and images in other modes: from public tools, read or refused with the cause."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distill.data.split import load_split

NAMES = ["ant", "bee"]
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 1, 0])


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def same_images(split: Any, expected: np.ndarray = PIXELS) -> bool:
    return np.array_equal(split.pixels(), expected.transpose(0, 3, 1, 2))


ARCHIVES: dict[str, tuple[dict[str, Any], str | None]] = {
    "images and labels": ({"images": PIXELS, "labels": LABELS}, None),
    "Keras: x_train, y_train": ({"x_train": PIXELS[:1], "y_train": LABELS[:1, None], "x_test": PIXELS, "y_test": LABELS[:, None]}, "test"),
    "MedMNIST": (
        {"train_images": PIXELS[:2], "train_labels": LABELS[:2, None], "test_images": PIXELS, "test_labels": LABELS[:, None]},
        "test",
    ),
    "CIFAR's rows of 3072 numbers": ({"data": PIXELS.transpose(0, 3, 1, 2).reshape(4, -1), "labels": LABELS}, None),
    "channels first": ({"X": PIXELS.transpose(0, 3, 1, 2), "y": LABELS}, None),
    "positions alone": ({"arr_0": PIXELS, "arr_1": LABELS}, None),
    "fine and coarse labels": ({"data": PIXELS, "coarse_labels": LABELS[::-1], "fine_labels": LABELS}, None),
    "names for labels": ({"images": PIXELS, "labels": np.array(NAMES)[LABELS]}, None),
    "names of the classes inside": ({"images": PIXELS, "labels": LABELS, "class_names": np.array(NAMES)}, None),
    "unsigned bytes": ({"images": PIXELS, "labels": LABELS.astype(np.uint8)}, None),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_of_arrays_gives_every_pixel_and_label(tmp_path: Path, name: str) -> None:
    arrays, split = ARCHIVES[name]
    np.savez(tmp_path / "x.npz", **arrays)
    if "class_names" not in arrays:
        (tmp_path / "classes.txt").write_text("\n".join(NAMES))

    loaded = load_split(tmp_path / "x.npz", domain="real", split=split)

    assert (loaded.class_names, loaded.labels.tolist()) == (tuple(NAMES), LABELS.tolist())
    assert same_images(loaded)
    assert loaded.ids.tolist() == [f"real/x/{row}" for row in range(4)]


@pytest.mark.parametrize(
    ("files", "given"),
    [
        ({"fog": PIXELS, "labels": LABELS, "snow": 255 - PIXELS}, "fog.npy"),  # CIFAR-10-C
        ({"cifar10.1_v6_data": PIXELS, "cifar10.1_v6_labels": LABELS}, "cifar10.1_v6_data.npy"),
        ({"x_test": PIXELS, "y_test": LABELS, "x_train": PIXELS[:2], "y_train": LABELS[:2]}, "x_test.npy"),
        ({"images": PIXELS, "labels": LABELS}, ""),
    ],
)
def test_arrays_in_files_of_their_own_find_their_labels(tmp_path: Path, files: dict[str, np.ndarray], given: str) -> None:
    for name, value in files.items():
        np.save(tmp_path / f"{name}.npy", value)
    (tmp_path / "classnames.txt").write_text("\n".join(NAMES))

    loaded = load_split(tmp_path / given, domain="real")

    assert loaded.labels.tolist() == LABELS.tolist()
    assert same_images(loaded)


@pytest.mark.parametrize("shape", ["(N, H, W)", "(N, H, W, 1)"])
def test_grey_arrays_become_three_equal_channels(tmp_path: Path, shape: str) -> None:
    grey = PIXELS[..., 0]
    np.savez(tmp_path / "x.npz", images=grey if shape == "(N, H, W)" else grey[..., None], labels=np.array(NAMES)[LABELS])

    assert same_images(load_split(tmp_path / "x.npz", domain="real"), np.repeat(grey[..., None], 3, axis=3))


BAD_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "floats": ({"images": PIXELS / 255, "labels": LABELS}, r"must be uint8 in 0..255, got float64 in 'images'; save them as `np.round"),
    "no labels": ({"images": PIXELS}, r"must have one label for each of its 4 images in an array `labels` or `y`"),
    "labels of another length": ({"images": PIXELS, "labels": LABELS[:3]}, "must have one label for each of its 4 images"),
    "two arrays of images": (
        {"a": PIXELS, "b": PIXELS, "labels": LABELS},
        r"must hold one array of images, .*got a uint8\[4, 8, 8, 3\], b",
    ),
    "no images": ({"labels": LABELS}, "must hold one array of images"),
    "four channels": ({"images": np.zeros((4, 8, 8, 4), np.uint8), "labels": LABELS}, r"must have one axis of 3 \(or 1\) colours"),
    "three rows of three channels": (
        {"images": np.zeros((4, 3, 8, 3), np.uint8), "labels": LABELS},
        r"must have one axis of 3 \(or 1\) colours",
    ),
    "several splits": (
        {"train_images": PIXELS, "train_labels": LABELS, "test_images": PIXELS, "test_labels": LABELS},
        r"one of \['test', 'train'\], got None; give it \(`--split test`\)",
    ),
    "objects": (
        {"images": PIXELS, "labels": np.array(["ant", None, "bee", "ant"], dtype=object)},
        "must hold NumPy arrays, got .*pickle.*`.astype\\(str\\)`",
    ),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_other_arrays_are_refused_with_the_remedy(tmp_path: Path, name: str) -> None:
    arrays, message = BAD_ARRAYS[name]
    np.savez(tmp_path / "x.npz", **arrays)

    with pytest.raises(ValueError, match=message):
        load_split(tmp_path / "x.npz", domain="real")


def test_a_folder_of_several_arrays_of_images_asks_for_one(tmp_path: Path) -> None:
    for name in ("fog", "snow", "labels"):
        np.save(tmp_path / f"{name}.npy", LABELS if name == "labels" else PIXELS)

    with pytest.raises(ValueError, match=r"must hold one array of images, .*got fog uint8.*; give one file"):
        load_split(tmp_path, domain="real")


def hub_rows(count: int = 4) -> datasets.Dataset:
    features = datasets.Features({"img": datasets.Image(), "fine_label": datasets.ClassLabel(names=NAMES)})
    images = [{"bytes": png(image), "path": None} for image in PIXELS[:count]]
    return datasets.Dataset.from_dict({"img": images, "fine_label": LABELS[:count].tolist()}, features)


def test_what_save_to_disk_has_written_is_read(tmp_path: Path) -> None:
    hub_rows().save_to_disk(tmp_path / "saved")

    loaded = load_split(tmp_path / "saved", domain="real")

    assert (loaded.class_names, loaded.labels.tolist()) == (tuple(NAMES), LABELS.tolist())
    assert same_images(loaded)


def test_a_choice_of_rows_that_was_saved_is_that_choice(tmp_path: Path) -> None:
    hub_rows().select([2, 0]).save_to_disk(tmp_path / "saved")

    assert same_images(load_split(tmp_path / "saved", domain="real"), PIXELS[[2, 0]])


def test_a_dictionary_of_splits_that_was_saved_asks_for_one(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": hub_rows(2), "test": hub_rows()}).save_to_disk(tmp_path / "saved")

    with pytest.raises(
        ValueError, match=r"must be one of \['train', 'test'\], got None; give it \(`--split train`\) or the folder `.*saved/train`"
    ):
        load_split(tmp_path / "saved", domain="real")
    assert same_images(load_split(tmp_path / "saved", domain="real", split="test"))
    assert same_images(load_split(tmp_path / "saved" / "test", domain="real"))


def test_a_damaged_saved_folder_is_named(tmp_path: Path) -> None:
    hub_rows().save_to_disk(tmp_path / "saved")
    for path in (tmp_path / "saved").glob("*.arrow"):
        path.write_bytes(b"not Arrow")

    with pytest.raises(ValueError, match=r"saved` must be what `save_to_disk` has written, got .*; save it again"):
        load_split(tmp_path / "saved", domain="real")


def test_a_saved_folder_does_not_choose_what_is_read_on_this_machine(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(decode=False), "label": datasets.Value("string")})
    rows = datasets.Dataset.from_dict({"image": [{"bytes": None, "path": "/etc/passwd"}], "label": ["ant"]}, features)
    folder = tmp_path / "saved"
    folder.mkdir()
    with datasets.arrow_writer.ArrowWriter(path=str(folder / "data-00000-of-00001.arrow"), features=features) as writer:
        writer.write_table(rows.data.table)
        writer.finalize()
    rows.info.write_to_directory(str(folder))
    (folder / "state.json").write_text(
        '{"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_fingerprint": "x", "_format_columns": null, "_format_kwargs": {}, '
        '"_format_type": null, "_output_all_columns": false, "_split": null}'
    )

    with pytest.raises(ValueError, match="must stay in its folder, got '/etc/passwd'"):
        load_split(folder, domain="real")


def test_a_copy_of_a_hub_repository_is_read_from_its_root(tmp_path: Path) -> None:
    (tmp_path / "repo" / "data").mkdir(parents=True)
    (tmp_path / "repo" / "README.md").write_text("about")
    hub_rows().to_parquet(tmp_path / "repo" / "data" / "test-00000-of-00001.parquet")

    assert same_images(load_split(tmp_path / "repo", domain="real"))


def test_tables_with_images_beside_folders_of_images_are_refused(tmp_path: Path) -> None:
    hub_rows().to_parquet(tmp_path / "x.parquet")
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "0.png").write_bytes(png(PIXELS[0]))

    with pytest.raises(ValueError, match=r"must hold parquet files, tar shards or image folders, got files with images and `.*ant/0.png`"):
        load_split(tmp_path, domain="real")


def shard(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_parquet_files_beside_shards_are_refused(tmp_path: Path) -> None:
    hub_rows().to_parquet(tmp_path / "x.parquet")
    shard(tmp_path / "x.tar", {"0.png": png(PIXELS[0]), "0.cls": b"ant"})

    with pytest.raises(ValueError, match=r"must hold parquet files or tar shards, got both, x.parquet and x.tar"):
        load_split(tmp_path, domain="real")


def test_a_folder_of_compressed_shards_is_read(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", {"0.png": png(PIXELS[0]), "0.cls": b"ant"})
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()

    assert same_images(load_split(tmp_path, domain="real"), PIXELS[:1])


KEYS = {
    "a version in each name": ["photo.v2.{}", ("png", "cls")],
    "class first": ["photo.v2.{}", ("cls", "png")],
    "with a caption": ["set.a.{}", ("cls", "png", "txt")],
    "a number with a point": ["{}.5", ("png", "cls")],
    "in folders": ["part.one/a.{}", ("png", "cls")],
    "no dots": ["a{}", ("png", "cls")],
}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", KEYS)
def test_keys_of_shards_may_have_dots(tmp_path: Path, name: str, lazy: bool) -> None:
    key, kinds = KEYS[name]
    files = {
        "png": lambda row: png(PIXELS[row]),
        "cls": lambda row: NAMES[LABELS[row]].encode(),
        "txt": lambda row: f"number {row}".encode(),
    }
    path = shard(tmp_path / "x.tar", {f"{key.format(row)}.{kind}": files[kind](row) for row in range(4) for kind in kinds})

    loaded = load_split(path, domain="real", lazy=lazy)

    assert loaded.ids.tolist() == [f"real/{key.format(row)}" for row in range(4)]
    assert loaded.labels.tolist() == LABELS.tolist()
    assert same_images(loaded)
    assert loaded.captions == ([f"number {row}" for row in range(4)] if "txt" in kinds else None)


def test_an_extension_with_a_dot_stays_one_as_webdataset_has_it(tmp_path: Path) -> None:
    files = {"0.caption.txt": b"about", "0.cls": b"ant", "0.image.png": png(PIXELS[0]), "1.cls": b"bee", "1.image.png": png(PIXELS[1])}

    loaded = load_split(shard(tmp_path / "x.tar", files), domain="real")

    assert loaded.ids.tolist() == ["real/0", "real/1"]
    assert same_images(loaded, PIXELS[:2])


def test_two_pictures_of_one_sample_are_still_refused(tmp_path: Path) -> None:
    files = {"0.cls": b"ant", "0.left.png": png(PIXELS[0]), "0.right.png": png(PIXELS[1])}

    with pytest.raises(ValueError, match=r"sample '0' of shard .* must have exactly one image, got \['cls', 'left.png', 'right.png'\]"):
        load_split(shard(tmp_path / "x.tar", files), domain="real")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.fromarray(PIXELS[0]), "JPEG", quality=100, subsampling=0, exif=exif)


WHOLE = Image.fromarray(PIXELS[0])
MODES: dict[str, tuple[bytes, str | None]] = {
    "CMYK JPEG, as some of ImageNet": (encoded(WHOLE.convert("CMYK"), "JPEG"), "CMYK colours"),
    "grey JPEG": (encoded(WHOLE.convert("L"), "JPEG"), None),
    "JPEG turned by EXIF": (rotated(), None),
    "16-bit PNG": (encoded(Image.fromarray(PIXELS[0, ..., 0].astype(np.uint16) * 257), "PNG"), "16-bit or deeper"),
    "palette PNG": (encoded(WHOLE.quantize(4), "PNG"), "palette"),
    "palette PNG with transparency": (encoded(WHOLE.quantize(4), "PNG", transparency=0), "palette"),
    "PNG with an opaque alpha channel": (encoded(WHOLE.convert("RGBA"), "PNG"), None),
    "transparent PNG": (encoded(Image.fromarray(np.dstack([PIXELS[0], PIXELS[0, ..., 0]])), "PNG"), "transparent"),
    "YCbCr JPEG, progressive": (encoded(WHOLE, "JPEG", progressive=True), None),
    "HSV TIFF": (encoded(WHOLE.convert("LAB"), "TIFF"), "LAB colours"),
    "black and white PNG": (encoded(WHOLE.convert("1"), "PNG"), None),
}


@pytest.mark.parametrize("name", MODES)
def test_images_in_other_modes_are_eight_bits_of_rgb_or_counted_when_they_are_skipped(tmp_path: Path, name: str) -> None:
    data, reason = MODES[name]
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": [data, png(PIXELS[1])], "label": ["ant", "ant"]}), path)

    if reason is None:
        with Image.open(io.BytesIO(data)) as image:
            from PIL import ImageOps

            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        assert np.array_equal(load_split(path, domain="real").pixels()[0], expected.transpose(2, 0, 1))
    else:
        with pytest.raises(ValueError, match=rf"got 1 of 2 that are not: real/x/0 \({reason}.*--skip-bad"):
            load_split(path, domain="real").pixels()
        kept = load_split(path, domain="real", skip_bad=True)
        assert (kept.skipped, kept.ids.tolist()) == (1, ["real/x/1"])


def test_images_of_several_sizes_ask_for_one(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [png(PIXELS[0]), png(PIXELS[1][:4])], "label": NAMES}), tmp_path / "x.parquet")
    split = load_split(tmp_path / "x.parquet", domain="real")

    with pytest.raises(ValueError, match=r"must all have one size when `size` is not given, got 8 x 8 and 8 x 4"):
        split.pixels()
    assert split.pixels(4).shape == (2, 3, 4, 4)
