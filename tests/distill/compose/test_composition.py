"""Counter-background sets: the tie, the partition, exact masks, refusals, and going on after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from distill.compose.composition import ComposeConfig, compose, place_counts
from distill.compose.cutouts import find_cutouts, held_out
from distill.compose.scenes import compose_scene
from distill.data.split import Split, load_split

COLOURS = {"bird": (250, 10, 10), "tree": (10, 250, 10)}
GROUND = {"water": 40, "land": 120}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four discs of one colour a class, the first with a caption."""
    folder = tmp_path_factory.mktemp("objects")
    across, down = np.meshgrid(np.arange(40), np.arange(30))
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for number in range(4):
            pixels = np.zeros((30, 40, 4), dtype=np.uint8)
            inside = (across - 20) ** 2 + (down - 15) ** 2 <= (8 + number) ** 2
            pixels[inside] = (*colour, 255)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
        (folder / name / "0.txt").write_text(f"A fine {name}.\nother languages\n")
    return folder


@pytest.fixture(scope="module")
def backgrounds(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Five grey pictures a place, of several sizes."""
    folder = tmp_path_factory.mktemp("backgrounds") / "real"
    for name, grey in GROUND.items():
        (folder / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (60 + number, 50), (grey + number,) * 3).save(folder / name / f"{number}.png")
    return load_split(str(folder.parent), lazy=True)


def config(**changes: object) -> ComposeConfig:
    return ComposeConfig.model_validate({"images": 40, "tie": 0.9, "size": 32, "scale": (0.4, 0.8)} | changes)


def rows(manifest: Path) -> list[dict[str, object]]:
    return pq.read_table(manifest).to_pylist()


@settings(deadline=None)
@given(st.integers(2, 500), st.integers(2, 9), st.integers(2, 7), st.floats(0, 1))
def test_counts_sum_to_the_pictures_and_tie_each_class_as_asked(images: int, classes: int, places: int, tie: float) -> None:
    counts = place_counts(images, classes, places, tie)

    per_class = counts.sum(axis=1)
    assert counts.sum() == images
    assert per_class.max() - per_class.min() <= 1
    tied = counts[np.arange(classes), np.arange(classes) % places]
    assert (np.abs(tied - tie * per_class) <= 0.5).all()


def test_class_and_place_are_independent_at_one_over_the_places() -> None:
    assert (place_counts(1200, 3, 4, 0.25) == 100).all()


def test_manifest_is_read_as_a_split_with_groups_masks_and_captions(objects: Path, backgrounds: Split, tmp_path: Path) -> None:
    manifest = compose(objects, backgrounds, tmp_path / "set", config())

    split = load_split(str(manifest))
    assert len(split) == 40
    assert split.class_names == ("bird", "tree")
    assert split.pixels(None).shape == (40, 3, 32, 32)
    groups = split.column("group")
    # Places are numbered in the order of the backgrounds' classes: land, water.
    assert {name: groups.count(name) for name in set(groups)} == {
        "bird on land": 18,
        "bird on water": 2,
        "tree on water": 18,
        "tree on land": 2,
    }
    captions = [str(row["caption"]) for row in rows(manifest) if row["object"] == "bird/0.png"]
    assert captions
    assert all(caption.startswith("a photo of a bird on ") and caption.endswith(". A fine bird.") for caption in captions)


def test_mask_is_the_object_and_nothing_else(objects: Path, backgrounds: Split, tmp_path: Path) -> None:
    manifest = compose(objects, backgrounds, tmp_path / "set", config())

    for row in rows(manifest):
        pixels = np.asarray(Image.open(manifest.parent / str(row["file_name"]))).astype(int)
        mask = np.asarray(Image.open(manifest.parent / str(row["mask"])))
        grey = pixels.max(axis=2) - pixels.min(axis=2) <= 2
        assert set(np.unique(mask)) == {0, 1}
        assert not grey[mask == 1].any()
        # Half-transparent edge pixels lie outside of the mask and are neither grey nor the object's colour.
        assert grey[mask == 0].mean() > 0.9
        assert (pixels[mask == 1].argmax(axis=1) == [0, 1][row["label"]]).all()  # type: ignore[index]


def test_train_and_test_share_no_object_and_no_background(objects: Path, backgrounds: Split, tmp_path: Path) -> None:
    train, test = (rows(compose(objects, backgrounds, tmp_path / part, config(part=part))) for part in ("train", "test"))

    for column in ("object", "background"):
        assert not {row[column] for row in train} & {row[column] for row in test}
    assert {row["class_name"] for row in train} == {row["class_name"] for row in test} == {"bird", "tree"}


def test_interrupted_set_ends_in_the_same_bytes(objects: Path, backgrounds: Split, tmp_path: Path) -> None:
    whole = compose(objects, backgrounds, tmp_path / "whole", config()).parent
    again = compose(objects, backgrounds, tmp_path / "again", config()).parent
    for name in ("images/all-0-000003.png", "masks/all-0-000017.png", "manifest.parquet"):
        (again / name).unlink()

    compose(objects, backgrounds, again, config(), resume=True)

    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((whole / file).read_bytes() == (again / file).read_bytes() for file in files)


def test_other_settings_are_refused_on_resuming(objects: Path, backgrounds: Split, tmp_path: Path) -> None:
    compose(objects, backgrounds, tmp_path / "set", config())

    with pytest.raises(ValueError, match="must be gone on with as it was begun"):
        compose(objects, backgrounds, tmp_path / "set", config(tie=0.5), resume=True)
    with pytest.raises(FileExistsError, match="must be a new folder"):
        compose(objects, backgrounds, tmp_path / "set", config())


def test_several_objects_have_a_number_each_in_the_mask() -> None:
    background = np.full((64, 64, 3), 9, dtype=np.uint8)
    cutouts = [np.full((20, 20, 4), 255, dtype=np.uint8) for _ in range(3)]

    scene = compose_scene(background, cutouts, size=64, scale=(0.3, 0.3), random=np.random.default_rng(4))

    assert set(np.unique(scene.mask)) == {0, 1, 2, 3}
    assert (scene.pixels[scene.mask > 0] == 255).all()
    assert (scene.pixels[scene.mask == 0] == 9).all()


@pytest.mark.parametrize(("count", "share", "expected"), [(50, 0.4, 20), (2, 0.01, 1), (2, 0.99, 1), (3, 0.0, 0), (3, 1.0, 3), (1, 0.4, 0)])
def test_held_out_names_are_a_share_whatever_their_order(count: int, share: float, expected: int) -> None:
    names = [f"n{number}" for number in range(count)]

    chosen = {name for name, out in zip(names, held_out(names, share, 7), strict=True) if out}
    turned = {name for name, out in zip(names[::-1], held_out(names[::-1], share, 7), strict=True) if out}

    assert len(chosen) == expected
    assert chosen == turned


def test_opaque_pictures_are_refused_and_counted(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (20, 20), (1, 2, 3)).save(tmp_path / name / "photo.png")

    with pytest.raises(ValueError, match="must be cut-outs with transparency, got 2 without"):
        find_cutouts(tmp_path)


def test_palette_pictures_with_a_transparent_colour_are_cutouts(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        picture = Image.new("P", (20, 20), 0)
        picture.putpalette([0, 0, 0, 200, 100, 50])
        picture.paste(1, (5, 5, 15, 12))
        picture.save(tmp_path / name / "one.png", transparency=0)

    cutouts, names = find_cutouts(tmp_path)

    assert names == ("cat", "dog")
    assert cutouts[0].read().shape == (7, 10, 4)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda folder: None, "at least two classes"),
        (lambda folder: [(folder / name).mkdir() for name in ("a", "b")], "cut-outs of every class, got none of a"),
        (lambda folder: [(folder / name).mkdir() or (folder / name / "x.png").write_bytes(b"no") for name in ("a", "b")], "cannot be read"),
        (
            lambda folder: [(folder / name).mkdir() or Image.new("RGBA", (9, 9)).save(folder / name / "x.png") for name in ("a", "b")],
            "transparent everywhere",
        ),
    ],
)
def test_folders_that_cannot_be_used_are_refused(make: object, match: str, backgrounds: Split, tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    folder.mkdir()
    make(folder)  # type: ignore[operator]

    with pytest.raises(ValueError, match=match):
        compose(folder, backgrounds, tmp_path / "out", config())


def test_one_file_of_two_classes_is_refused(objects: Path) -> None:
    with pytest.raises(ValueError, match="must be of one class each"):
        find_cutouts(objects, {"one": ["bird"], "two": ["bird", "tree"]})


@pytest.mark.parametrize(
    ("places", "match"),
    [({"sea": ["water"]}, "at least two places"), ({"sea": ["water"], "moon": ["crater"]}, "must name classes of the backgrounds")],
)
def test_places_that_cannot_be_tied_are_refused(
    places: dict[str, list[str]], match: str, objects: Path, backgrounds: Split, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=match):
        compose(objects, backgrounds, tmp_path / "out", config(), places=places)


@pytest.mark.parametrize("changes", [{"scale": (0.5, 0.4)}, {"scale": (0.0, 0.4)}, {"scale": (0.05, 0.4)}, {"tie": 1.2}, {"images": 1}])
def test_settings_out_of_range_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        config(**changes)
