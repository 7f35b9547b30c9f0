"""Everything that can be wrong with a source ends in one sentence that names the place and the remedy."""

from __future__ import annotations

import io
import logging
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distill.data.split import load_split


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHGAP_CACHE", str(tmp_path_factory.mktemp("cache")))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
GOOD = encoded(NOISE)
BAD = {
    "zero.png": (b"", "zero bytes"),
    "text.png": (b"hello", "unreadable"),
    "cut.jpg": (encoded(NOISE, "JPEG")[:-100], "truncated"),
    "cmyk.jpg": (encoded(NOISE.convert("CMYK"), "JPEG"), "CMYK"),
    "deep.png": (encoded(Image.fromarray(np.full((32, 32), 40_000, np.uint16))), "16-bit"),
    "palette.png": (encoded(NOISE.quantize(8)), "palette"),
    "moving.gif": (encoded(NOISE, "GIF", save_all=True, append_images=[NOISE.rotate(90)]), "animated"),
    "huge.png": (encoded(Image.new("1", (8000, 8000))), "gigantic"),
}


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good cats and two good dogs."""
    for name in ("cat", "dog"):
        for index in range(2):
            write(tmp_path / "data" / name / f"good{index}.png", GOOD)
    return tmp_path / "data"


def parquet(folder: Path, **columns: object) -> Path:
    path = folder / "x.parquet"
    good = {"image": [GOOD, GOOD], "class_name": ["cat", "dog"], "domain": ["real", "real"]} | columns
    pq.write_table(pa.table({name: values for name, values in good.items() if values is not None}), path)
    return path


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("method", ["validate", "pixels"])
def test_bad_image_is_named_with_its_reason_and_the_remedy(folder: Path, name: str, method: str) -> None:
    data, reason = BAD[name]
    write(folder / "dog" / name, data)
    split = load_split(folder, domain="real")

    with pytest.raises(ValueError, match=rf"got 1 of 5 that are not: .*dog/{name} \({reason}.*--skip-bad"):
        getattr(split, method)()


def test_error_names_the_first_five_bad_images_and_counts_the_rest(folder: Path) -> None:
    for index in range(7):
        write(folder / "dog" / f"zero{index}.png", b"")

    with pytest.raises(ValueError, match=r"got 7 of 11 that are not: .*zero0.*zero4.png.* and 2 more; mend") as caught:
        load_split(folder, domain="real").validate()

    assert "zero5" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_image_in_a_table_is_named_by_its_id(tmp_path: Path) -> None:
    path = parquet(tmp_path, image=[GOOD, b""], id=["first", "second"])

    with pytest.raises(ValueError, match=r"second \(zero bytes\)"):
        load_split(path).pixels()


def test_file_that_has_gone_is_named(folder: Path) -> None:
    split = load_split(folder, domain="real")
    (folder / "cat" / "good0.png").unlink()

    with pytest.raises(ValueError, match=r"cat/good0.png \(cannot be opened: No such file"):
        split.pixels()


def test_skip_bad_leaves_out_counts_and_logs_them_all(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, (data, _) in BAD.items():
        write(folder / "cat" / name, data)

    with caplog.at_level(logging.WARNING):
        split = load_split(folder, domain="real", skip_bad=True)

    assert (len(split), split.skipped, split.labels.tolist()) == (4, len(BAD), [0, 0, 1, 1])
    assert split.pixels().shape == (4, 3, 32, 32)
    assert f"skipped {len(BAD)} of {len(BAD) + 4} images of data" in caplog.text


def test_skip_bad_still_refuses_a_class_that_has_lost_all_images(folder: Path) -> None:
    for path in (folder / "dog").iterdir():
        path.write_bytes(b"")

    with pytest.raises(ValueError, match=r"got none for \['dog'\]"):
        load_split(folder, domain="real", skip_bad=True)


def test_skip_bad_on_good_images_skips_none(folder: Path) -> None:
    assert load_split(folder, domain="real", skip_bad=True).skipped == 0


def test_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere` must be a file, folder, pattern or hf:NAME"):
        load_split(tmp_path / "nowhere", domain="real")


@pytest.mark.parametrize("pattern", ["*.parquet", "shard-{00..03}.tar"])
def test_pattern_without_match_is_named(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(FileNotFoundError, match="must match files, got none"):
        load_split(str(tmp_path / pattern), domain="real")


def test_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="must hold class folders"):
        load_split(tmp_path, domain="real")


def test_empty_class_folder_is_named(folder: Path) -> None:
    (folder / "eel").mkdir()

    with pytest.raises(ValueError, match=r"class folder `.*/eel` must hold images"):
        load_split(folder, domain="real")


def test_images_outside_class_folders_are_named(folder: Path) -> None:
    write(folder / "stray.png", GOOD)

    with pytest.raises(ValueError, match=r"must lie in a folder named after their class, got `.*/stray.png`"):
        load_split(folder, domain="real")


def test_domains_with_different_classes_are_named(tmp_path: Path) -> None:
    for place in ("real/cat", "real/dog", "synthetic/cat", "synthetic/eel"):
        write(tmp_path / place / "0.png", GOOD)

    with pytest.raises(ValueError, match="'dog' only in real, 'eel' only in synthetic"):
        load_split(tmp_path, domain="real")


def test_folder_that_is_no_domain_beside_domains_is_named(tmp_path: Path) -> None:
    for place in ("real/cat", "synthetic/cat", "sketch/cat"):
        write(tmp_path / place / "0.png", GOOD)

    with pytest.raises(ValueError, match="must all be domains, real and synthetic, got 'sketch' too"):
        load_split(tmp_path)


def test_missing_domain_tells_how_to_give_it(folder: Path) -> None:
    with pytest.raises(ValueError, match="give `domain='real'` or `domain='synthetic'`"):
        load_split(folder)


def test_unknown_domain_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="`domain` must be 'real' or 'synthetic', got 'painted'"):
        load_split(folder, domain="painted")


def test_source_of_the_other_domain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must hold synthetic images, got only real ones"):
        load_split(parquet(tmp_path), domain="synthetic")


def test_metadata_of_images_that_are_not_there_is_refused(folder: Path) -> None:
    write(folder / "metadata.csv", b"file_name,text\ncat/typo.png,a cat\n")

    with pytest.raises(ValueError, match=r"must name images in class folders, got 'cat/typo.png'"):
        load_split(folder, domain="real")


TABLES = {
    "duplicate ids": ({"id": ["a", "a"]}, "ids of `x` must be unique, got 'a' more than once"),
    "id gap": ({"id": ["a", None]}, "column `id` of `x` must be filled, got nothing in row 1"),
    "unknown domain word": ({"domain": ["real", "painted"]}, "must hold 'real' or 'synthetic', got 'painted' in row 1"),
    "class gap": ({"class_name": ["cat", None]}, "column `class_name` of `x` must be filled, got None in row 1"),
    "unlabelled": ({"label": [0, -1]}, "column `label` of `x` must be filled, got -1 in row 1"),
    "two names for a label": ({"label": [0, 0]}, "must agree, got 'cat' and 'dog' for label 0"),
    "two labels for a name": ({"label": [0, 1], "class_name": ["cat", "cat"]}, r"must agree, got labels \[0, 1\] for 'cat'"),
    "fractional labels": ({"label": [0.5, 1.0]}, "must hold integers or class names, got double"),
    "no class": ({"class_name": None}, "must have a column `label` or `class_name`"),
    "no class names": ({"class_name": None, "label": [0, 1]}, "got integer labels only; give `class_names`"),
    "no image": ({"image": None, "width": [1, 2]}, "must have a column 'image'"),
    "image as pixels": ({"image": [[1, 2], [3, 4]]}, "must hold encoded files"),
}


@pytest.mark.parametrize("name", TABLES)
def test_wrong_table_is_refused(tmp_path: Path, name: str) -> None:
    columns, message = TABLES[name]

    with pytest.raises(ValueError, match=message):
        load_split(parquet(tmp_path, **columns))


def test_label_beyond_the_class_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be in 0..1, got 2"):
        load_split(parquet(tmp_path, class_name=None, label=[0, 2]), class_names=["cat", "dog"])


@pytest.mark.parametrize(
    ("class_names", "message"),
    [
        (["cat"], r"among \['cat'\], got \['dog'\] too"),
        (["cat", "dog", "eel"], r"none for \['eel'\]"),
        (["cat", "cat", "dog"], "got 'cat' more than once"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(tmp_path: Path, class_names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_split(parquet(tmp_path), class_names=class_names)


def test_unknown_source_column_is_refused_with_the_choice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got 'fine' for 'label'; choose from \['image', 'class_name', 'domain', 'key'\]"):
        load_split(parquet(tmp_path), columns={"label": "fine"})


def test_table_without_rows_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": pa.array([], pa.binary()), "class_name": pa.array([], pa.string())}), tmp_path / "x.parquet")

    with pytest.raises(ValueError, match="must hold at least one row"):
        load_split(tmp_path / "x.parquet", domain="real")


def test_broken_parquet_file_is_named(tmp_path: Path) -> None:
    whole = parquet(tmp_path).read_bytes()
    (tmp_path / "x.parquet").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(ValueError, match=r"x.parquet` must be a whole parquet file"):
        load_split(tmp_path / "x.parquet")


def test_other_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "x.zip", b"PK")

    with pytest.raises(ValueError, match=r"must all be .parquet or all be .tar"):
        load_split(tmp_path / "x.zip", domain="real")


def test_unknown_split_is_refused(tmp_path: Path) -> None:
    parquet(tmp_path).rename(tmp_path / "train.parquet")

    with pytest.raises(FileNotFoundError, match=r"files of split 'test', got \['train.parquet'\]"):
        load_split(tmp_path, split="test")


def shard(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


SHARDS = {
    "two images": ({"a__png": GOOD, "a__jpg": GOOD, "a__cls": b"0"}, "sample 'a' of shard .* must have exactly one image"),
    "no image": ({"a__cls": b"0"}, "must have exactly one image, got"),
    "json that is a list": ({"a__png": GOOD, "a__json": b"[1]"}, "json, txt and cls of sample 'a'"),
    "broken json": ({"a__png": GOOD, "a__json": b"{"}, "json, txt and cls of sample 'a'"),
    "no class": ({"a__png": GOOD}, "must have a column `label` or `class_name`"),
    "duplicate keys": (
        {"a__png": GOOD, "a__cls": b"cat", "b__png": GOOD, "b__cls": b"cat", "a__webp": GOOD, "a__CLS": b"cat"},
        "got 'real/a' more than once",
    ),
    "nothing": ({}, "must hold samples such as 0001.jpg"),
}


@pytest.mark.parametrize("name", SHARDS)
def test_wrong_shard_is_refused(tmp_path: Path, name: str) -> None:
    files, message = SHARDS[name]

    with pytest.raises(ValueError, match=message):
        load_split(shard(tmp_path / "x.tar", **files), domain="real")


def test_truncated_shard_is_named(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", a__png=GOOD, a__cls=b"cat", b__png=GOOD, b__cls=b"cat")
    path.write_bytes(path.read_bytes()[:6000])

    with pytest.raises(ValueError, match=r"x.tar` must be a whole tar file"):
        load_split(path, domain="real")


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("where", ["between two members", "in a header"])
def test_a_shard_that_ends_early_without_a_broken_member_is_no_shorter_shard(tmp_path: Path, where: str, lazy: bool) -> None:
    path = shard(tmp_path / "x.tar", a__png=GOOD, a__cls=b"cat", b__png=GOOD, b__cls=b"cat")
    with tarfile.open(path) as tar:
        third = tar.getmembers()[2].offset
    path.write_bytes(path.read_bytes()[: third + (200 if where == "in a header" else 0)])

    with pytest.raises(ValueError, match=r"x.tar` must be a whole tar file, got 'an end without the zeros that end a tar file"):
        load_split(path, domain="real", lazy=lazy)


def test_missing_shard_of_a_range_is_named(tmp_path: Path) -> None:
    shard(tmp_path / "s0.tar", a__png=GOOD, a__cls=b"cat")

    with pytest.raises(FileNotFoundError, match=r"shard `.*s1.tar` must exist"):
        load_split(str(tmp_path / "s{0..1}.tar"), domain="real")


def test_cifake_file_with_an_eleventh_class_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "REAL" / "1.jpg", GOOD)
    write(tmp_path / "REAL" / "2 (11).jpg", GOOD)

    with pytest.raises(ValueError, match=r"must be called `<index> \(<class 2..10>\).jpg`, got .*2 \(11\).jpg"):
        load_split(tmp_path)
