"""Every source format gives the same rows for the same images."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distill.data import cifake
from distill.data.shards import expand_braces
from distill.data.split import Split, load_split

CLASSES = ("cat", "dog")


def picture(seed: int, size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def table(**columns: object) -> pa.Table:
    """Four images: cat, dog, cat, dog."""
    images = [{"bytes": picture(seed), "path": f"{seed}.png"} for seed in range(4)]
    return pa.table({"image": images, "label": [0, 1, 0, 1], "class_name": ["cat", "dog"] * 2, **columns})


def shard(path: Path, samples: dict[str, bytes | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in samples.items():
            body = data if isinstance(data, bytes) else data.encode()
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHGAP_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "four.parquet"
    pq.write_table(table(id=["a", "b", "c", "d"], domain=["real"] * 4, text=["one", "two", "three", None], ink=["red", "blue"] * 2), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images a class and domain; picture number 4 * domain + 2 * class + index."""
    root = tmp_path / "images"
    for d, domain in enumerate(("real", "synthetic")):
        for c, name in enumerate(CLASSES):
            for index in range(2):
                write(root / domain / name / f"{index}.png", picture(4 * d + 2 * c + index))
    return root


def first_pixels(split: Split, seed: int, index: int = 0) -> bool:
    return np.array_equal(split.pixels()[index], np.asarray(Image.open(io.BytesIO(picture(seed)))).transpose(2, 0, 1))


def test_parquet_gives_all_columns(parquet: Path) -> None:
    split = load_split(str(parquet))

    assert split.class_names == CLASSES
    assert split.ids.tolist() == ["a", "b", "c", "d"]
    assert split.labels.tolist() == [0, 1, 0, 1]
    assert split.labels.dtype == np.int64
    assert split.domains.tolist() == ["real"] * 4
    assert split.captions == ["one", "two", "three", None]
    assert split.attributes == ("ink",)
    assert split.rows.column_names == ["id", "image", "label", "domain", "caption", "generator", "ink"]
    assert first_pixels(split, 3, 3)


def test_parquet_without_ids_makes_them_from_file_row_and_domain(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "part.parquet")

    assert load_split(tmp_path / "part.parquet", domain="real").ids.tolist() == [f"real/part/{row}" for row in range(4)]


def test_parquet_folder_reads_the_files_of_one_split(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "train-0.parquet")
    pq.write_table(table(), tmp_path / "train-1.parquet")
    pq.write_table(table(), tmp_path / "test-0.parquet")

    assert len(load_split(tmp_path, split="train", domain="real")) == 8
    assert len(load_split(str(tmp_path / "*.parquet"), domain="real")) == 12
    with pytest.raises(ValueError, match=r"holds several splits, \['test', 'train'\]"):
        load_split(tmp_path, domain="real")


def test_words_that_only_begin_like_a_split_are_no_split(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "trains.parquet")
    pq.write_table(table(), tmp_path / "testimony.parquet")

    assert len(load_split(tmp_path, domain="real")) == 8


def test_parquet_keeps_only_the_domain_that_is_asked_for(tmp_path: Path) -> None:
    pq.write_table(table(domain=["real", "real", "FAKE", "fake"]), tmp_path / "both.parquet")

    assert load_split(tmp_path / "both.parquet", domain="synthetic").ids.tolist() == ["synthetic/both/2", "synthetic/both/3"]


def test_parquet_written_by_datasets_brings_its_class_names(tmp_path: Path) -> None:
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "cat"])})
    rows = datasets.Dataset.from_dict(
        {"img": [{"bytes": picture(0), "path": None}, {"bytes": picture(1), "path": None}], "label": [1, 0]}, features
    )
    rows.to_parquet(tmp_path / "hub.parquet")

    split = load_split(tmp_path / "hub.parquet", domain="real")

    assert (split.class_names, split.labels.tolist()) == (("dog", "cat"), [1, 0])
    assert first_pixels(split, 0)


def test_parquet_of_plain_bytes_and_foreign_column_names(tmp_path: Path) -> None:
    images = [picture(0), picture(1)]
    pq.write_table(pa.table({"photo": images, "mask": images, "fine": ["cat", "dog"], "coarse": ["pet", "pet"]}), tmp_path / "x.parquet")

    split = load_split(tmp_path / "x.parquet", domain="real", columns={"image": "photo", "class_name": "fine"})

    assert (split.class_names, split.attributes) == (CLASSES, ("coarse",))
    assert first_pixels(split, 1, 1)


def test_parquet_with_paths_only_reads_them_beside_itself(tmp_path: Path) -> None:
    write(tmp_path / "files" / "7.png", picture(7))
    pq.write_table(pa.table({"image": [{"path": "files/7.png"}], "class_name": ["cat"]}), tmp_path / "x.parquet")

    assert first_pixels(load_split(tmp_path / "x.parquet", domain="real"), 7)


def test_bare_labels_take_the_class_names_given(tmp_path: Path) -> None:
    pq.write_table(table().drop_columns("class_name"), tmp_path / "x.parquet")

    assert load_split(tmp_path / "x.parquet", domain="real", class_names=["seal", "owl"]).class_names == ("seal", "owl")


def test_class_names_given_set_the_order_of_labels(parquet: Path) -> None:
    assert load_split(parquet, class_names=["dog", "cat"]).labels.tolist() == [1, 0, 1, 0]


def test_label_numbers_with_gaps_are_closed_up_in_their_order(tmp_path: Path) -> None:
    images = [{"bytes": picture(seed), "path": None} for seed in range(2)]
    pq.write_table(
        pa.table({"image": images, "label": pa.array([7, 3], pa.int8()), "class_name": ["ant", "zebra"]}), tmp_path / "x.parquet"
    )

    split = load_split(tmp_path / "x.parquet", domain="real")

    assert (split.class_names, split.labels.tolist()) == (("zebra", "ant"), [1, 0])


def test_folder_with_domains(folder: Path) -> None:
    split = load_split(folder)

    assert len(split) == 8
    assert split.class_names == CLASSES
    assert min(split.ids) == "real/cat/0.png"
    real = load_split(folder, domain="real")
    assert real.ids.tolist() == ["real/cat/0.png", "real/cat/1.png", "real/dog/0.png", "real/dog/1.png"]
    assert first_pixels(real, 2, 2)


def test_folder_of_classes_has_the_same_ids_as_with_its_domain_folder(folder: Path) -> None:
    assert load_split(folder / "synthetic", domain="synthetic").ids.tolist() == load_split(folder, domain="synthetic").ids.tolist()


def test_folder_named_real_and_fake_in_capitals(folder: Path) -> None:
    (folder / "real").rename(folder / "REAL")
    (folder / "synthetic").rename(folder / "FAKE")

    assert sorted(set(load_split(folder).domains)) == ["real", "synthetic"]


def test_folder_of_splits_descends_into_one(folder: Path) -> None:
    root = folder.parent / "root"
    root.mkdir()
    folder.rename(root / "train")
    write(root / "test" / "real" / "cat" / "0.png", picture(0))

    assert len(load_split(root, split="train")) == 8
    with pytest.raises(ValueError, match="give it or the folder itself"):
        load_split(root)


def test_folder_ignores_hidden_files_and_other_endings(folder: Path) -> None:
    write(folder / "README.md", "about")
    write(folder / "real" / "cat" / ".hidden.png", b"")
    write(folder / "real" / "cat" / "Thumbs.db", b"")
    (folder / ".git").mkdir()

    assert len(load_split(folder)) == 8


def test_folder_takes_captions_from_text_files_beside_the_images(folder: Path) -> None:
    write(folder / "real" / "dog" / "1.txt", "a dog\n")

    assert load_split(folder, domain="real").captions == [None, None, None, "a dog"]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_folder_takes_captions_and_attributes_from_a_metadata_table(folder: Path, kind: str) -> None:
    rows = [
        {"file_name": f"{d}/{c}/{i}.png", "text": f"{d} {c}", "ink": "red"} for d in ("real", "synthetic") for c in CLASSES for i in (1, 0)
    ]
    lines = [json.dumps(row) for row in rows] if kind == "jsonl" else ["file_name,text,ink", *(",".join(row.values()) for row in rows)]
    write(folder / f"metadata.{kind}", "\n".join(lines) + "\n")

    split = load_split(folder, domain="synthetic")

    assert split.captions == ["synthetic cat"] * 2 + ["synthetic dog"] * 2
    assert split.task("ink").class_names == ("red",)


def test_shards_with_class_names_captions_and_json(tmp_path: Path) -> None:
    samples = {
        "b/0001.png": picture(0),
        "b/0001.cls": "cat",
        "b/0001.txt": "a cat\n",
        "b/0001.json": json.dumps({"ink": "red", "width": 8, "score": 0.5}),
        "b/0002.PNG": picture(1),
        "b/0002.cls": "dog",
        "b/0002.json": json.dumps({"ink": "blue", "status": None}),
    }
    split = load_split(shard(tmp_path / "x.tar", samples), domain="synthetic")

    assert split.ids.tolist() == ["synthetic/b/0001", "synthetic/b/0002"]
    assert split.class_names == CLASSES
    assert split.captions == ["a cat", None]
    assert split.column("ink") == ["red", "blue"]
    assert first_pixels(split, 1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]  # nothing is extracted


@pytest.mark.parametrize("packed", [False, True])
def test_images_left_in_their_shards_are_the_same(tmp_path: Path, packed: bool) -> None:
    samples = {f"{i}.{k}": v for i in range(5) for k, v in (("png", picture(i % 2)), ("cls", CLASSES[i % 2]))}
    path = shard(tmp_path / "x.tar", samples)
    if packed:
        path.with_suffix(".tar.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = path.with_suffix(".tar.gz")

    held, left = load_split(path, domain="real"), load_split(path, domain="real", lazy=True)

    assert (left.rows[0]["image"]["bytes"] is None) != packed  # what is compressed has no places
    np.testing.assert_array_equal(left.pixels(8), held.pixels(8))
    assert left.fingerprint == held.fingerprint
    assert left.ids.tolist() == held.ids.tolist()


def test_a_shard_cut_short_after_it_was_read_is_named_by_its_images(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", {"0.cls": "cat", "0.png": picture(0), "1.cls": "dog", "1.png": picture(1)})
    split = load_split(path, domain="real", lazy=True)
    path.write_bytes(path.read_bytes()[:600])

    with pytest.raises(ValueError, match=r"real/1 \(cut off in x.tar, which has changed\)"):
        split.pixels(8)


def test_shards_by_braces_with_numbered_classes(tmp_path: Path) -> None:
    write(tmp_path / "classnames.txt", "cat\ndog\n")
    for number in range(2):
        shard(
            tmp_path / "test" / f"s-{number:02}.tar",
            {f"{number}{i}.{k}": v for i in "01" for k, v in (("png", picture(int(i))), ("cls", i))},
        )

    split = load_split(str(tmp_path / "test" / "s-{00..01}.tar"), domain="real")

    assert (len(split), split.class_names, split.labels.tolist()) == (4, CLASSES, [0, 1, 0, 1])
    assert load_split(tmp_path / "test", domain="real").ids.tolist() == split.ids.tolist()
    assert load_split(str(tmp_path / "test" / "s-*.tar"), domain="real").ids.tolist() == split.ids.tolist()


def test_shards_written_by_the_webdataset_library(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "w.tar")) as writer:
        for seed, name in enumerate(("cat", "dog")):
            writer.write({"__key__": f"{seed:04}", "png": picture(seed), "cls": seed, "json": {"class_name": name, "caption": f"a {name}"}})

    split = load_split(tmp_path / "w.tar", domain="real")

    assert (split.class_names, split.captions) == (CLASSES, ["a cat", "a dog"])


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("a.tar", ["a.tar"]), ("{a,b}-{8..10}", ["a-8", "a-9", "a-10", "b-8", "b-9", "b-10"]), ("{098..100}", ["098", "099", "100"])],
)
def test_braces_expand_as_in_a_shell(spec: str, expected: list[str]) -> None:
    assert expand_braces(spec) == expected


@pytest.fixture
def cifake_folder(tmp_path: Path) -> Path:
    root = tmp_path / "CIFAKE"
    for split in ("train", "test"):
        for word in ("REAL", "FAKE"):
            for number in range(1, 11):
                suffix = "" if number == 1 else f" ({number})"
                write(root / "DATASET" / split / word / f"0{number}{suffix}.jpg", picture(number))
    return root


def test_cifake_folders_take_the_class_from_the_file_name(cifake_folder: Path) -> None:
    split = load_split(cifake_folder / "DATASET" / "test", domain="synthetic")

    assert split.class_names == cifake.CLASS_NAMES
    assert sorted(zip(split.ids, split.labels, strict=True))[:2] == [("synthetic/test/01", 0), ("synthetic/test/010 (10)", 9)]
    assert load_split(cifake_folder, split="test", domain="synthetic").ids.tolist() == split.ids.tolist()
    assert load_split(cifake_folder / "DATASET" / "test" / "FAKE").ids.tolist() == split.ids.tolist()


def test_cifake_folder_of_both_splits_asks_for_one(cifake_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"`split` of the CIFAKE folder .* must be one of \['train', 'test'\], got None"):
        load_split(cifake_folder)


def test_cifake_is_found_in_either_layout(cifake_folder: Path, tmp_path: Path) -> None:
    parts = {"train-real", "train-synthetic", "test-real", "test-synthetic"}
    for part in parts:
        write(tmp_path / "parquet" / f"{part}.parquet", b"")

    assert set(cifake.find(tmp_path / "parquet")) == set(cifake.find(cifake_folder)) == set(cifake.find(cifake_folder / "DATASET")) == parts
    assert load_split(cifake.find(cifake_folder)["train-synthetic"]).domains.tolist() == ["synthetic"] * 10


def test_missing_cifake_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="birdy654/cifake"):
        cifake.find(tmp_path)
