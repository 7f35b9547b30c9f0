"""`Split`: selecting, joining, changing the question, and the hash of the content."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distill.data.split import Split, load_split, require_same_classes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHGAP_CACHE", str(tmp_path / "cache"))


def picture(seed: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def make(folder: Path, name: str = "x", *, seeds: range = range(6), **changes: list[object]) -> Split:
    """Cats and dogs in turn, in three inks."""
    count = len(seeds)
    columns: dict[str, object] = {
        "id": [f"{name}-{seed}" for seed in seeds],
        "image": [{"bytes": picture(seed), "path": f"{name}{seed}"} for seed in seeds],
        "class_name": [("cat", "dog")[i % 2] for i in range(count)],
        "domain": ["real"] * count,
        "caption": [f"a picture {i}" for i in range(count)],
        "ink": [("red", "blue", "green")[i % 3] for i in range(count)],
    }
    pq.write_table(pa.table(columns | changes), folder / f"{name}.parquet")
    return load_split(folder / f"{name}.parquet")


def test_select_keeps_rows_in_the_order_given(tmp_path: Path) -> None:
    split = make(tmp_path)
    whole = split.pixels()

    chosen = split.select([4, 1])

    assert chosen.ids.tolist() == ["x-4", "x-1"]
    assert chosen.labels.tolist() == [0, 1]
    assert np.array_equal(chosen.pixels(), whole[[4, 1]])


def test_select_of_a_selection_refers_to_the_selection(tmp_path: Path) -> None:
    assert make(tmp_path).select([5, 4, 3]).select([0, 2]).ids.tolist() == ["x-5", "x-3"]


def test_select_takes_a_mask(tmp_path: Path) -> None:
    split = make(tmp_path)

    assert split.select(split.labels == 1).ids.tolist() == ["x-1", "x-3", "x-5"]


@pytest.mark.parametrize(
    ("indices", "message"), [([6], r"in 0\.\.5, got 6"), ([-1], r"in 0\.\.5, got -1"), (np.ones(5, bool), r"shape \(6,\)")]
)
def test_select_refuses_positions_out_of_range(tmp_path: Path, indices: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(tmp_path).select(indices)


def test_selection_hashes_the_same_whether_or_not_its_parent_was_hashed(tmp_path: Path) -> None:
    fresh, hashed = make(tmp_path), make(tmp_path)
    assert hashed.fingerprint

    assert fresh.select([3, 0]).fingerprint == hashed.select([3, 0]).fingerprint


def test_task_makes_an_attribute_the_class(tmp_path: Path) -> None:
    split = make(tmp_path)

    inks = split.task("ink")

    assert inks.class_names == ("blue", "green", "red")
    assert inks.labels.tolist() == [2, 0, 1, 2, 0, 1]
    assert np.array_equal(inks.pixels(), split.pixels())
    assert inks.ids.tolist() == split.ids.tolist()
    assert inks.rows.column_names == split.rows.column_names


def test_task_of_a_selection_keeps_the_selected_rows(tmp_path: Path) -> None:
    chosen = make(tmp_path).select([5, 0, 1]).task("ink", class_names=["red", "green", "blue"])

    assert (chosen.ids.tolist(), chosen.labels.tolist()) == (["x-5", "x-0", "x-1"], [1, 0, 2])


def test_task_refuses_values_outside_its_classes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got \['green'\] too"):
        make(tmp_path).task("ink", class_names=["red", "blue"])


def test_task_refuses_an_unknown_column_and_one_with_gaps(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must have a column 'paper'"):
        make(tmp_path).task("paper")
    with pytest.raises(ValueError, match=r"column 'ink' .* got gaps"):
        make(tmp_path, ink=["red", None, "red", "blue", "blue", "red"]).task("ink")


def test_concat_puts_both_domains_in_one_split(tmp_path: Path) -> None:
    real = make(tmp_path, "r")
    synthetic = make(tmp_path, "s", seeds=range(10, 14), domain=["synthetic"] * 4, generator=["sd"] * 4)

    both = real.select([1, 0]).concat(synthetic)

    assert both.ids.tolist() == ["r-1", "r-0", "s-10", "s-11", "s-12", "s-13"]
    assert both.domains.tolist() == ["real"] * 2 + ["synthetic"] * 4
    assert both.column("generator") == [None, None, "sd", "sd", "sd", "sd"]
    assert np.array_equal(both.pixels(), np.concatenate([real.pixels()[[1, 0]], synthetic.pixels()]))


def test_concat_renumbers_labels_of_another_order(tmp_path: Path) -> None:
    first = make(tmp_path, "a")
    make(tmp_path, "b")
    second = load_split(tmp_path / "b.parquet", class_names=["dog", "cat"])

    both = first.concat(second)

    assert both.class_names == ("cat", "dog")
    assert both.labels.tolist() == [0, 1] * 6


def test_concat_refuses_ids_that_occur_twice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ids of `x\+x` must be unique, got 'x-0', 'x-1', .* and 1 more"):
        make(tmp_path).concat(make(tmp_path))


def test_classes_that_differ_are_named_with_their_side(tmp_path: Path) -> None:
    real = make(tmp_path, "real")
    other = make(tmp_path, "fake", class_name=["cat", "seal"] * 3)

    with pytest.raises(ValueError, match="'dog' only in `real`, 'seal' only in `fake`"):
        require_same_classes(real, other)


def test_class_that_a_selection_has_lost_is_noticed(tmp_path: Path) -> None:
    split = make(tmp_path)

    with pytest.raises(ValueError, match="'dog' only in"):
        require_same_classes(split, split.select(split.labels == 0))


def test_same_classes_in_another_order_are_refused_until_renumbered(tmp_path: Path) -> None:
    split = make(tmp_path)
    turned = load_split(tmp_path / "x.parquet", class_names=["dog", "cat"])

    with pytest.raises(ValueError, match=r"in the same order, got \['cat', 'dog'\] and \['dog', 'cat'\]"):
        require_same_classes(split, turned)

    back = turned.with_class_order(split.class_names)
    require_same_classes(split, back)
    assert back.labels.tolist() == split.labels.tolist()


def test_order_of_other_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be the classes of `x`"):
        make(tmp_path).with_class_order(["cat", "seal"])


def test_fingerprint_ignores_file_names_ids_and_format(tmp_path: Path) -> None:
    first = make(tmp_path, "x")
    renamed = make(tmp_path, "other")
    for row in range(6):
        place = tmp_path / "folder" / first.class_names[row % 2] / f"{row}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(row))
        place.with_suffix(".txt").write_text(f"a picture {row}")
    order = [0, 2, 4, 1, 3, 5]

    assert first.fingerprint == renamed.fingerprint
    assert first.select(order).fingerprint == load_split(tmp_path / "folder", domain="real").fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"class_name": ["dog", "cat"] * 3},
        {"class_name": ["cat", "seal"] * 3},
        {"caption": ["another"] * 6},
        {"caption": [None] * 6},
        {"domain": ["synthetic"] * 6},
        {"image": [{"bytes": picture(seed + (seed == 5)), "path": f"x{seed}"} for seed in range(6)]},
    ],
    ids=["labels", "class names", "captions", "no captions", "domains", "one image"],
)
def test_fingerprint_changes_with_the_content(tmp_path: Path, change: dict[str, list[object]]) -> None:
    assert make(tmp_path, "x").fingerprint != make(tmp_path, "y", **change).fingerprint


def test_fingerprint_changes_with_the_order(tmp_path: Path) -> None:
    split = make(tmp_path)

    assert split.fingerprint != split.select([1, 0, 2, 3, 4, 5]).fingerprint


def test_metadata_tells_codecs_apart(tmp_path: Path) -> None:
    images = [{"bytes": picture(seed, ("PNG", "JPEG")[seed % 2]), "path": "x"} for seed in range(6)]

    found = make(tmp_path, image=images).metadata

    assert found["codec"].tolist() == ["PNG", "JPEG"] * 3
    assert found["bytes"].tolist() == [len(image["bytes"]) for image in images]
    assert np.isnan(found["quality"]).tolist() == [True, False] * 3
    assert (found["width"] == 8).all()
    assert set(found["subsampling"]) == {"", "4:2:0"}


def test_split_without_captions_says_none(tmp_path: Path) -> None:
    assert make(tmp_path, caption=[None] * 6).captions is None


def test_split_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        make(tmp_path).name = "other"  # type: ignore[misc]
